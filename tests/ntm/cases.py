"""Which cases of a test `make test` leaves out."""

import pytest

__all__ = ["leave_out"]


def leave_out(names, *exhaustive):
    """Return all names as cases of a test; those that are named again are for `make test-all`."""
    names = list(names)
    assert set(exhaustive) <= set(names), f"{exhaustive} must be among {names}"
    mark = pytest.mark.exhaustive
    return [pytest.param(name, marks=mark) if name in exhaustive else name for name in names]
