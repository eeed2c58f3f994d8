"""The command line: ``ntm train``, ``resume``, ``evaluate``, ``plot``, ``compare``, ``tasks``."""

from ntm.interruption import stop_on_signals

with stop_on_signals() as _importing:  # These take seconds
    from ntm.cli.options import add_settings, get_settings
    from ntm.cli.parser import make_parser
    from ntm.cli.program import main
    from ntm.cli.usage import DONE, FAILED, INTERRUPTED, NOT_SOLVED, WRONG_USAGE
if _importing.is_set():
    raise SystemExit(INTERRUPTED)

__all__ = [
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "NOT_SOLVED",
    "WRONG_USAGE",
    "add_settings",
    "get_settings",
    "main",
    "make_parser",
]
