"""Running the command line: what ends it, and with which exit code."""

import os
import sys
from collections.abc import Sequence

import pytensor

from ntm.arguments import shorten
from ntm.cli.commands import compare, resume, train
from ntm.cli.data_commands import train_on_data
from ntm.cli.parser import make_parser
from ntm.cli.report_commands import watch
from ntm.cli.sweep_commands import sweep
from ntm.cli.usage import BROKEN_PIPE, END, FAILED, INTERRUPTED, WRONG_USAGE, UsageError
from ntm.interruption import stop_on_signals
from ntm.training.trainer import TrainingError

NOTICE = (
    "Interrupted: training stops after this step and saves. Press Ctrl-C again to stop at once."
)
#: The commands that save when they are interrupted. Others end at once, except `watch`, which closes its server itself
TRAINING = (train, train_on_data, resume, compare, sweep)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code.

    Parameters
    ----------
    arguments : list of str, optional
        Instead of those of the process.
    """
    try:
        try:
            return _run(arguments)
        finally:  # Else Python finds the broken pipe after the last line of this program
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE


def _discard_output() -> None:
    """Send what is still to be printed nowhere: whoever read it has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _run(arguments: Sequence[str] | None) -> int:
    may_save = False
    try:
        with stop_on_signals(may_exit=arguments is None) as stop:
            options = make_parser().parse_args(arguments)
            stop.check()
            if options.run in TRAINING:
                may_save, stop.notice = True, NOTICE
            elif options.run is not watch:
                stop.end_at_once(*END)
            pytensor.config.floatX = "float32"
            return options.run(options)
    except UsageError as error:
        return _fail(error, WRONG_USAGE)
    except BrokenPipeError:
        raise
    except (ValueError, OSError, ImportError, TrainingError) as error:
        return _fail(error, FAILED)
    except (MemoryError, RuntimeError) as error:
        # JAX has no class of its own for this error
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _fail(f"there is not enough memory: {shorten(error, 200)}", FAILED)
    except KeyboardInterrupt:
        rest = "; there was nothing new to save" if may_save else ""
        return _fail(f"interrupted{rest}", INTERRUPTED)


def _fail(message: object, code: int) -> int:
    print(f"ntm: {message}", file=sys.stderr)
    return code
