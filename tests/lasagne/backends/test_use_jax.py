"""One line at the top of a program: JAX compiles, and float32 is the default type."""

import os
import subprocess
import sys
import weakref

import pytensor
import pytensor.tensor as pt
import pytest

import ntm
from lasagne.backends import modes, use_jax

PROGRAM = """
import jax.numpy as jnp, numpy as np
type_of_integers = jnp.arange(3).dtype
import ntm
ntm.use_jax()
import pytensor, pytensor.tensor as pt
from lasagne.layers import DenseLayer, InputLayer, get_all_params, get_output
from lasagne.updates import adam

x = pt.matrix("x")
layer = DenseLayer(InputLayer((None, 3), x), 2, nonlinearity=None)
output = get_output(layer)
loss = (output**2).mean()
train = pytensor.function([x], loss, updates=adam(loss, get_all_params(layer)))
predict = pytensor.function([x], output)
assert x.dtype == layer.W.dtype == loss.dtype == "float32"
assert type(train).__name__ == type(predict).__name__ == "JAXFunction"
value = np.ones((4, 3), "float32")
first, second = train(value), train(value)
assert second < first and first.dtype == predict(value).dtype == "float32"
assert not isinstance(layer.W.container.storage[0], np.ndarray)
assert (2 * layer.W).eval().dtype == "float32"
assert jnp.arange(3).dtype == type_of_integers

# Another mode still goes before, and the line may come again
other = pytensor.function([x], output, mode="FAST_COMPILE")
np.testing.assert_allclose(other(value), predict(value), rtol=1e-5)
ntm.use_jax(device="cpu")
assert type(pytensor.function([x], output)).__name__ == "JAXFunction"

ntm.use_jax("float64")
assert pt.matrix().dtype == "float64"
"""

LATE = """
import numpy as np, pytensor, pytensor.tensor as pt, ntm
w = pytensor.shared(np.ones(3), name="W")
x, number = pt.matrix("x"), pt.lvector("number")
ntm.use_jax()
"""


def run(program, **environment):
    """Run a program, and return what it says."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTENSOR_FLAGS": "", "PYTENSORRC": os.devnull, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stderr.strip().splitlines()


@pytest.mark.slow
def test_a_program_that_begins_with_it():
    """It says that parameters made before keep their type, when a program changes the type twice."""
    (line,) = run(PROGRAM)
    assert "float64 the default type" in line
    assert "stay float32: " in line


@pytest.mark.slow
def test_variables_made_before_are_named():
    (line,) = run(LATE)
    assert "2 variables made before the call stay float64" in line
    assert "W" in line
    assert "x" in line
    assert "number" not in line


@pytest.mark.slow
@pytest.mark.parametrize("place", ["flags", "file"])
def test_flags_that_disagree_are_named(place, tmp_path):
    program = "import ntm; ntm.use_jax(); ntm.use_jax()"
    if place == "flags":
        lines = run(program, PYTENSOR_FLAGS="mode=NUMBA,floatX=float64,linker=jax")
    else:
        (tmp_path / "rc").write_text("[global]\nmode = NUMBA\nfloatX = float64\n")
        lines = run(program, PYTENSORRC=str(tmp_path / "rc"))
    assert lines == [
        "use_jax() changes PyTensor's floatX to float32. PYTENSOR_FLAGS or .pytensorrc set float64",
        "use_jax() changes PyTensor's mode to JAX. PYTENSOR_FLAGS or .pytensorrc set NUMBA",
    ]


@pytest.mark.slow
def test_flags_that_agree_are_not():
    assert run("import ntm; ntm.use_jax()", PYTENSOR_FLAGS="mode=JAX,floatX=float32") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("float16",), ValueError, r"one of \('float32', 'float64'\), not 'float16'"),
        ((32,), ValueError, "not 32"),
        (("cpu",), ValueError, "not 'cpu'"),
        (
            ("float32", 0),
            TypeError,
            "device must be a name such as 'cpu', 'gpu' or 'gpu:1'.* not 0",
        ),
        (("float32", "abacus"), ValueError, "no device 'abacus'"),
    ],
)
def test_wrong_arguments_change_nothing(arguments, error, message):
    before = pytensor.config.floatX, pytensor.config.mode
    with pytest.raises(error, match=message):
        use_jax(*arguments)
    assert (pytensor.config.floatX, pytensor.config.mode) == before


@pytest.mark.slow
def test_it_is_where_users_look():
    assert ntm.use_jax is use_jax


def test_weak_references_to_what_is_gone():
    """They are among the objects of the process, in which use_jax() looks for variables made before."""

    class Thing:
        pass

    thing = Thing()
    proxy = weakref.proxy(thing)
    x = pt.dvector("made before")
    del thing
    assert "made before" in modes._find_variables("float64")
    with pytest.raises(ReferenceError):
        isinstance(proxy, Thing)
    assert x.dtype == "float64"
