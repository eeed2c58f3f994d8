"""Things that are chosen by name, such as curricula and schedules."""


def check_choice(kind, name, known):
    """Raise a `ValueError` unless a name is among those known.

    Parameters
    ----------
    kind : str
        What it is a name of, for the message.
    name : str
    known : iterable of str
    """
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}: expected one of {', '.join(known)}")


def make_choice(kind, name, known, *arguments, options=None):
    """What a class or function that is chosen by name makes of arguments and options.

    Parameters
    ----------
    kind, name : str
    known : dict from str to callable
    *arguments
    options : dict, optional

    Raises
    ------
    ValueError
        If the name is not known, or there is no such option.
    """
    check_choice(kind, name, known)
    try:
        return known[name](*arguments, **(options or {}))
    except TypeError as error:
        raise ValueError(f"{kind} {name!r}: {error}") from error
