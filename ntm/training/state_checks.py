"""Whether what a checkpoint says of a trainer's state is such a state; checkpoints come from strangers, too."""

from ntm.arguments import shorten

# What may be None, besides what is None at present
_OPTIONAL = ("stage", "first", "best", "last_steps", "solved_at")
# Lists of rows, which are dicts with a step
_ROWS = ("skipped", "evaluations")


def check_state(given, own, where):
    """Raise a `ValueError` unless a value from JSON is of the kind of a trainer's own.

    Numbers are not negative, as all are that count something; dicts have the same keys; lists may be of any length.

    Parameters
    ----------
    given : value from JSON
    own : dict, list, number, str or None
        What the trainer's `get_state` gives in this place.
    where : str
        For the message.
    """
    name = where.rpartition(" ")[2]
    if isinstance(own, dict):
        if not isinstance(given, dict) or given.keys() != own.keys():
            _fail(given, f"of {', '.join(own)}", where)
        for key, value in own.items():
            check_state(given[key], value, f"{where} {key}")
    elif isinstance(own, list):
        fits = _is_row if name in _ROWS else _is_number_or_list
        if not isinstance(given, list) or not all(map(fits, given)):
            _fail(given, "a list of rows" if name in _ROWS else "a list of numbers", where)
    elif isinstance(own, str):
        if not isinstance(given, str):
            _fail(given, "a string", where)
    elif given is None:
        if own is not None and name not in _OPTIONAL:
            _fail(given, "a number", where)
    else:
        whole = isinstance(own, int) or (own is None and name not in ("first", "best"))
        if not _is_number(given) or given < 0 or (whole and not isinstance(given, int)):
            _fail(given, "a whole number" if whole else "a number, not negative", where)


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_number_or_list(value):
    return all(map(_is_number, value)) if isinstance(value, list) else _is_number(value)


def _is_row(value):
    return isinstance(value, dict) and type(value.get("step")) is int


def _fail(given, expected, where):
    raise ValueError(f"{where} must be {expected}, not {shorten(repr(given), 100)}")
