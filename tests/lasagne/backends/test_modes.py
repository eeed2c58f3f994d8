import importlib.util
import os
import shutil
import subprocess
import sys

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import BACKENDS, get_mode


def test_jax_takes_shapes_unknown_when_compiled():
    x = pt.matrix("x")
    total = pt.concatenate([x, pt.zeros((x.shape[0], 2))], axis=1).reshape((x.shape[0], -1))
    function = pytensor.function([x], total, mode=get_mode("jax"))
    for shape in [(1, 2), (3, 4)]:
        assert np.asarray(function(np.ones(shape))).shape == (shape[0], shape[1] + 2)


def test_jax_keeps_the_dtype_of_integers_that_it_allocates():
    x = pt.matrix("x")
    zeros = pt.zeros((x.shape[0], 2), "int32")
    function = pytensor.function([x], zeros, mode=get_mode("jax"))
    assert np.asarray(function(np.ones((3, 1)))).dtype == "int32"


def test_jax_is_the_default():
    assert type(get_mode().linker) is type(get_mode("jax").linker)
    assert BACKENDS[0] == "jax"


C_SCRIPT = """
import numpy as np, pytensor, pytensor.tensor as pt
from ntm import get_mode
x = pt.matrix("x")
totals = pytensor.scan(lambda row: (row**2).sum(), sequences=[x], return_updates=False)
print(pytensor.function([x], totals, mode=get_mode("c"))(np.arange(6.0).reshape(2, 3)).tolist())
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_c_runs():
    """In a process of its own: PyTensor was imported here without a compiler."""
    result = subprocess.run(
        [sys.executable, "-c", C_SCRIPT],
        env={**os.environ, "PYTENSOR_FLAGS": "cxx=g++"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[5.0, 50.0]"


@pytest.mark.parametrize("name", ["foo", "JAX", None])
def test_unknown_back_end(name):
    with pytest.raises(ValueError, match="unknown back end") as error:
        get_mode(name)
    assert repr(name) in str(error.value)
    assert "('jax', 'numba', 'c')" in str(error.value)


@pytest.mark.parametrize("backend", ["jax", "numba"])
def test_missing_package(backend, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=f"the {backend} back end .*pip install {backend}"):
        get_mode(backend)


def test_missing_compiler():
    assert not pytensor.config.cxx
    with pytest.raises(ImportError, match=r"C\+\+ compiler.*install g\+\+"):
        get_mode("c")


def test_compiler_that_is_not_there():
    with (
        pytensor.config.change_flags(cxx="/no/such/g++"),
        pytest.raises(ImportError, match=r"no compiler at '/no/such/g\+\+'"),
    ):
        get_mode("c")


def test_a_function_runs_on_the_device_asked_for():
    x = pt.fvector()
    w = pytensor.shared(np.ones(3, "float32"))
    for device in ("cpu", "cpu:0"):
        function = pytensor.function([x], x * w, mode=get_mode("jax", device=device))
        value = function(np.arange(3, dtype="float32"))
        assert {place.platform for place in value.devices()} == {"cpu"}
        np.testing.assert_array_equal(value, np.arange(3.0))


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    [
        ("jax", "cpu:99", r"no device 'cpu:99', only \d+ of the kind 'cpu'"),
        ("jax", "cpu:x", "no device 'cpu:x'"),
        ("jax", "cpu:", "no device 'cpu:'"),
        ("jax", "abacus", r"no device 'abacus', only: cpu.*jax\[cuda13\]"),
        ("numba", "gpu", "the numba back end runs on the CPU only, not on 'gpu'"),
    ],
)
def test_devices_that_there_are_not(backend, device, message):
    with pytest.raises(ValueError, match=message):
        get_mode(backend, device=device)


@pytest.mark.parametrize("backend", ["jax", "numba", "c"])
@pytest.mark.parametrize("device", [0, True, ["gpu"]])
def test_a_device_that_is_no_name(backend, device):
    with pytest.raises(TypeError, match="device must be a name such as 'cpu', 'gpu'") as error:
        get_mode(backend, device=device)
    assert repr(device) in str(error.value)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 70, 300), (0, 100, 100)])
def test_sum_over_the_rows_of_matrices(shape):
    x, y = pt.tensor3("x"), pt.matrix("y")
    total = (x**2).sum(axis=1)
    function = pytensor.function(
        [x, y], [total, pytensor.grad((total * y).sum(), x)], mode=get_mode("jax")
    )
    values = np.random.default_rng(0).normal(size=shape)
    factors = np.random.default_rng(1).normal(size=(shape[0], shape[2]))
    total, grad = function(values, factors)
    np.testing.assert_allclose(total, np.square(values).sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(grad, 2 * values * factors[:, None, :], rtol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [3, -4])
def test_numba_raises_for_indices_out_of_range(bad):
    x, i, j = pt.matrix("x"), pt.lvector("i"), pt.lvector("j")
    value = np.arange(6.0).reshape(3, 2)
    for expression, right in (
        (x[i], value[[0, -3]]),
        (x[i, j], value[[0, -3], [0, 1]]),
        (pt.inc_subtensor(x[i], 1), value + np.array([[2], [0], [0]])),
    ):
        function = pytensor.function(
            [x, i, j], expression, mode=get_mode("numba"), on_unused_input="ignore"
        )
        np.testing.assert_array_equal(function(value, [0, -3], [0, 1]), right)
        with pytest.raises(IndexError, match="out of bounds"):
            function(value, [0, bad], [0, 1])


def test_an_array_may_be_written_to_when_the_call_has_returned():
    x = pt.fmatrix("x")  # Calls whose results have 64 bits wait for the results
    product = x
    for _ in range(30):
        product = pt.tanh(product @ x)
    function = pytensor.function([x], product, mode=get_mode("jax"))
    size = 300
    room = np.zeros(size * size + 16, "float32")
    start = -room.ctypes.data % 64 // 4  # JAX reads arrays that begin so in their place
    buffer = room[start : start + size * size].reshape(size, size)
    values = (np.random.default_rng(0).normal(size=(size, size)) / 20).astype("float32")
    expected = np.asarray(function(values.copy()))
    for _ in range(5):
        buffer[:] = values
        result = function(buffer)
        buffer[:] = 7
        np.testing.assert_array_equal(result, expected)
