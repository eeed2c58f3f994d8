"""Functions of several back ends on the same shared variables."""

import copy
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode

SCRIPT = """
import numpy as np, pytensor, pytensor.tensor as pt
from ntm import get_mode

def alternate(other):
    '''Functions of JAX and of another mode, in turns, beside the right values.'''
    w, v = pytensor.shared(np.ones((2, 3)), name="w"), pytensor.shared(np.zeros((2, 3)), name="v")
    x = pt.vector("x")
    jax = get_mode("jax")
    before = pytensor.function([x], (w * x).sum(), mode=other)
    grow = pytensor.function([x], w.sum(), updates=[(w, w + x), (v, w)], mode=jax)
    after = pytensor.function([x], (w * x).sum(), mode=other)
    double = pytensor.function([], [], updates=[(w, 2 * w)], mode=other)
    predict = pytensor.function([x], w * x, mode=jax)
    expected, one = np.ones((2, 3)), np.ones(3)
    for step in range(3):
        total = grow(one)
        assert total == expected.sum()
        expected_v, expected = expected, expected + 1
        jax_value = w.get_value(return_internal_type=True)
        lazy = predict(one)
        assert before(one) == after(one) == expected.sum()
        double()
        np.testing.assert_array_equal(jax_value, expected)
        np.testing.assert_array_equal(lazy, expected)
        expected = 2 * expected
        np.testing.assert_array_equal(w.get_value(), expected)
        np.testing.assert_array_equal(v.get_value(), expected_v)
        np.testing.assert_array_equal(predict(one), expected)
"""


@pytest.fixture
def held_by_jax():
    """A shared variable that a JAX function has updated, from 1 to 2."""
    w = pytensor.shared(np.ones((2, 3)), name="w")
    pytensor.function([], [], updates=[(w, w + 1)], mode=get_mode("jax"))()
    assert not isinstance(w.container.storage[0], np.ndarray)
    return w


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numba", None])
def test_back_ends_in_turns(backend):
    """Without a mode, that is PyTensor's Python back end in these tests."""
    names = {}
    exec(SCRIPT, names)
    names["alternate"](backend and get_mode(backend))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_jax_and_c_in_turns():
    """In a process of its own: PyTensor was imported here without a compiler."""
    subprocess.run(
        [sys.executable, "-c", SCRIPT + "alternate(get_mode('c'))"],
        env={**os.environ, "PYTENSOR_FLAGS": "cxx=g++"},
        check=True,
    )


def test_eval_of_what_jax_holds(held_by_jax):
    np.testing.assert_array_equal((held_by_jax + 1).eval(), np.full((2, 3), 3.0))


def test_values_can_be_written_to_and_stay_with_jax(held_by_jax):
    value = held_by_jax.get_value()
    value[:] = 5
    assert type(value) is np.ndarray
    np.testing.assert_array_equal(held_by_jax.get_value(), np.full((2, 3), 2.0))
    assert not isinstance(held_by_jax.container.storage[0], np.ndarray)


def test_a_borrowed_value_cannot_be_written_to_without_a_word(held_by_jax):
    value = held_by_jax.get_value(borrow=True)
    assert type(value) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        value[:] = 5


def test_what_jax_holds_can_be_zeroed_copied_and_pickled(held_by_jax):
    add = pytensor.function([], held_by_jax.sum(), mode=get_mode("jax"))
    for copied in (copy.deepcopy(held_by_jax), pickle.loads(pickle.dumps(held_by_jax))):
        assert type(copied.container.storage[0]) is np.ndarray
        np.testing.assert_array_equal(copied.get_value(), np.full((2, 3), 2.0))
    assert add.copy()() == pickle.loads(pickle.dumps(add))() == add() == 12
    held_by_jax.zero(borrow=True)
    assert add() == 0


def test_a_value_from_jax_is_copied(held_by_jax):
    value = held_by_jax.get_value(return_internal_type=True)
    other = pytensor.shared(np.zeros((2, 3)))
    other.set_value(value, borrow=True)
    assert other.get_value(borrow=True).flags.writeable
    assert other.get_value(borrow=True) is other.container.storage[0]


@pytest.mark.slow
def test_nothing_is_written_to_what_jax_still_reads():
    """JAX returns before the work is done, and reads NumPy arrays that lie well in memory where they are."""
    buffer = np.zeros(128 + 64, "float32")
    start = -buffer.ctypes.data % 64 // 4
    w = pytensor.shared(np.ones(128, "float32"))
    x = pt.fmatrix("x")
    power = x
    for _ in range(8):
        power = pt.tanh(power @ power)
    slow = pytensor.function([x], w.sum() + 0 * power.sum(), mode=get_mode("jax"))
    double = pytensor.function([], [], updates=[(w, 2 * w)], mode=get_mode("numba"))
    matrix = np.eye(500, dtype="float32")
    double()
    slow(matrix).block_until_ready()
    for _ in range(3):
        value = buffer[start : start + 128]
        value[:] = 1
        w.set_value(value, borrow=True)
        total = slow(matrix)
        double()
        assert total == 128
        assert w.get_value().sum() == 256


# ---- threads and processes

THREADS = """
import sys, threading
import numpy as np, pytensor, pytensor.tensor as pt
from ntm import get_mode

def call_from_threads(mode):
    x = pt.matrix("x")
    function = pytensor.function([x], pt.tanh(x @ x).sum(axis=0), mode=mode)
    wrong = []

    def call(number):
        value = np.eye(40) * number
        for _ in range(1000):
            try:
                np.testing.assert_allclose(function(value), np.tanh(value @ value).sum(axis=0))
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=call, args=(0.1 * k,)) for k in range(1, 5)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    assert not wrong, wrong[:3]
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "numba"])
def test_a_function_called_from_several_threads(backend):
    names = {}
    exec(THREADS, names)
    names["call_from_threads"](get_mode(backend))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_a_function_of_c_called_from_several_threads():
    """In a process of its own: PyTensor was imported here without a compiler, and C may abort the process."""
    subprocess.run(
        [sys.executable, "-c", THREADS + "call_from_threads(get_mode('c'))"],
        env={**os.environ, "PYTENSOR_FLAGS": "cxx=g++"},
        check=True,
    )


FORK = """
import multiprocessing, warnings
import numpy as np, pytensor
from ntm import get_mode

warnings.filterwarnings("ignore", category=RuntimeWarning)  # JAX's, of every fork
warnings.filterwarnings("ignore", category=DeprecationWarning)  # Python's, of a fork with threads
w = pytensor.shared(np.ones(3))
grow = pytensor.function([], w.sum(), updates=[(w, w + 1)], mode=get_mode("jax"))
add = pytensor.function([], w.sum(), mode=get_mode("numba"))
grow()

def run_in_child():
    assert w.get_value().sum() == add() == 6
    for run in (grow, lambda: pytensor.function([], w.sum(), mode=get_mode("jax"))):
        try:
            run()
        except RuntimeError as error:
            assert "spawn" in str(error), error
        else:
            raise AssertionError("no error")

process = multiprocessing.get_context("fork").Process(target=run_in_child)
process.start()
process.join(60)
if process.exitcode is None:
    process.kill()
assert process.exitcode == 0, process.exitcode
assert grow() == 6
assert add() == 9
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_does_not_wait_for_jax():
    subprocess.run([sys.executable, "-c", FORK], check=True)
