"""Checks of lengths, on each back end."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.checks import check_length, check_mask, check_unrolled
from lasagne.utils import hide_masked

MESSAGE = 'my "layer"\\\n100 %s ?\'); has another length'
MODES = {"python": "FAST_COMPILE", "jax": get_mode("jax"), "numba": get_mode("numba")}


def run_checks(mode):
    """Call a function that checks for three numbers, and collect the results or the messages."""
    x = pt.vector(dtype="float64")
    function = pytensor.function([x], check_length(x, 3, MESSAGE), mode=mode)
    results = []
    for length in (0, 2, 3, 4):
        try:
            results.append(np.asarray(function(np.ones(length))).tolist())
        except ValueError as error:
            results.append(error.args[0].split("\nApply node")[0])
    return results


EXPECTED = [f"{MESSAGE}: 0", f"{MESSAGE}: 2", [1.0] * 3, f"{MESSAGE}: 4"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_check_length(mode):
    assert run_checks(mode) == EXPECTED


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_check_length_in_c():
    """In a process of its own: PyTensor was imported here without a compiler."""
    script = (
        "from tests.lasagne.test_checks import *; assert run_checks(get_mode('c')) == EXPECTED; "
    )
    script += "assert run_mask_checks(get_mode('c')) == MASK_EXPECTED"
    subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTENSOR_FLAGS": "cxx=g++"}, check=True
    )


@pytest.mark.parametrize("mode", ["FAST_COMPILE", MODES["jax"]])
def test_gradient(mode):
    x = pt.vector(dtype="float64")
    function = pytensor.function([x], pt.grad((check_length(x, 3, "") ** 2).sum(), x), mode=mode)
    assert np.array_equal(function(np.arange(3.0)), [0, 2, 4])


@pytest.mark.parametrize("longer", [False, True])
def test_known_length(longer):
    x = pt.tensor(shape=(None, 3))
    assert check_length(x, 3, "", axis=1, longer=longer) is x
    with pytest.raises(ValueError, match=r"^too short: 3$"):
        check_length(x, 4, "too short", axis=1, longer=longer)
    if longer:
        assert check_length(x, 2, "", axis=1, longer=True) is x
    else:
        with pytest.raises(ValueError, match=r"^too long: 3$"):
            check_length(x, 2, "too long", axis=1)


@pytest.mark.parametrize("mode", ["FAST_COMPILE", MODES["jax"]])
def test_at_least(mode):
    x = pt.vector(dtype="float64")
    function = pytensor.function([x], check_length(x, 3, "short", longer=True), mode=mode)
    assert [len(function(np.ones(n))) for n in (3, 4)] == [3, 4]
    with pytest.raises(ValueError, match="short: 2"):
        function(np.ones(2))


def run_mask_checks(mode):
    """Call functions that check masks against sequences of two or three and four steps."""
    x, masks = pt.tensor3(dtype="float64"), [pt.matrix(), pt.tensor(shape=(2, None))]
    results = []
    for sequence in (x, pt.specify_shape(x, (2, None, None))):
        for mask in masks:
            output = check_mask(MESSAGE, mask, sequence)
            function = pytensor.function([x, mask], [sequence, output], mode=mode)
            for shape in ((2, 4), (2, 3), (2, 5), (3, 4))[: 4 if mask is masks[0] else 3]:
                try:
                    function(np.ones((2, 4, 1)), np.ones(shape, mask.dtype))
                except ValueError as error:
                    results.append(error.args[0].split("\nApply node")[0])
    return results


MASK_MESSAGE = f"{MESSAGE}: the mask must be of the input's"
LENGTHS = [f"{MASK_MESSAGE} length: {length} instead of 4" for length in (3, 5)]
MASK_EXPECTED = [*LENGTHS, f"{MASK_MESSAGE} batch size: 3 instead of 2", *LENGTHS]
MASK_EXPECTED += [*LENGTHS, f"{MASK_MESSAGE} batch size, 2, not: 3", *LENGTHS]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_check_mask(mode):
    assert run_mask_checks(mode) == MASK_EXPECTED


def test_check_mask_of_known_sizes():
    x, mask = pt.tensor(shape=(2, 4, 3)), pt.tensor(shape=(2, 4))
    assert check_mask("layer", mask, x) is mask
    for shape, message in (
        ((2, 5), r"^layer: the mask must be of the input's length, 4, not: 5$"),
        ((1, 4), r"^layer: the mask must be of the input's batch size, 2, not: 1$"),
        ((2, 4, 1), r"^layer: the mask must have 2 axes \(batch, time\), not 3$"),
    ):
        with pytest.raises(ValueError, match=message):
            check_mask("layer", pt.tensor(shape=shape), x)
    row = pt.tensor(shape=(1, 4))
    assert check_mask("layer", row, x, rows=True) is row


@pytest.mark.parametrize("mode", ["FAST_COMPILE", MODES["jax"]])
def test_check_comes_before_the_use(mode):
    x, mask = pt.tensor3(dtype="float64"), pt.matrix()
    hidden = hide_masked(x, check_mask("layer", mask, x))
    function = pytensor.function([x, mask], hidden, mode=mode)
    with pytest.raises(ValueError, match=r"layer: the mask .* length: 3 instead of 4"):
        function(np.ones((2, 4, 1)), np.ones((2, 3)))


def test_check_unrolled():
    x, mask = pt.tensor(shape=(2, 4, 3)), pt.tensor(shape=(2, 5))
    assert check_unrolled("layer", 4, x) == [x]
    with pytest.raises(ValueError, match=r"^layer: .* the 4 time steps .* the mask .* length: 5$"):
        check_unrolled("layer", 4, x, mask)


NUMBA_SCRIPT = """
import numpy as np, pytensor, pytensor.tensor as pt
from lasagne.checks import check_same_size
x, y = pt.dvectors("x", "y")
function = pytensor.function([x, y], check_same_size(x, y, 0, "they differ"), mode="NUMBA")
print(*[len(function(np.ones(n), np.ones(n))) for n in (0, 3)])
try:
    function(np.ones(0), np.ones(3))
except ValueError as error:
    print(error.args[0].splitlines()[0])
"""


@pytest.mark.slow
def test_numba_where_ntm_is_not_imported():
    """PyTensor's conversion of the base class: the check is right, the message has no sizes."""
    result = subprocess.run(
        [sys.executable, "-c", NUMBA_SCRIPT], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == ["0 3", "they differ"]
