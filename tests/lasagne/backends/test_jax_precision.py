"""Our functions compute in 64 bits where the graph does, and leave JAX as the program has set it."""

import os
import subprocess
import sys

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.loop import loop

# A program that uses JAX for itself, between all that it does with our functions
START = """
import threading
import jax, jax.numpy as jnp, numpy as np

def note():
    '''What the program's own JAX code gets.'''
    own = jax.jit(lambda x: x * 2)(jnp.arange(3))
    return str(jnp.arange(3).dtype), str(jnp.ones(2).dtype), str(own.dtype), jax.config.jax_enable_x64

before = note()

def check_jax():
    assert note() == before, (note(), before)
    found = []
    thread = threading.Thread(target=lambda: found.append(note()))
    thread.start()
    thread.join()
    assert found == [before], (found, before)

import pytensor, pytensor.tensor as pt
from ntm import get_mode
from lasagne.loop import loop
check_jax()
mode = get_mode("jax")
check_jax()
"""

PROGRAM = """
big = 2**40
n, x = pt.lvector("n"), pt.dvector("x")
count = pytensor.shared(np.int64(big), name="count")
w = pytensor.shared(np.full(3, 1 / 3), name="w")
grow = pytensor.function(
    [n, x], [n * 2 + 1, w * x, count], updates=[(count, count * 2 + 1), (w, w / 3)], mode=mode
)
check_jax()
expected_count, expected_w = big, np.full(3, 1 / 3)
for _ in range(3):
    numbers, products, total = grow([big, 0, -big], np.arange(3.0))
    check_jax()
    assert numbers.dtype == total.dtype == "int64" and products.dtype == "float64"
    assert numbers.tolist() == [2 * big + 1, 1, 1 - 2 * big]
    np.testing.assert_allclose(products, expected_w * np.arange(3), rtol=1e-15)
    assert int(total) == expected_count
    # What a program computes with results is as exact as they are
    assert (numbers + 1).tolist() == [2 * big + 2, 2, 2 - 2 * big]
    assert (total * 2 + 1).item() == 2 * expected_count + 1
    expected_count, expected_w = 2 * expected_count + 1, expected_w / 3
    assert not isinstance(count.container.storage[0], np.ndarray)
    assert count.get_value() == expected_count and count.get_value().dtype == "int64"
    np.testing.assert_allclose(w.get_value(), expected_w, rtol=1e-15)
    check_jax()
count.set_value(np.int64(big))
assert int(grow([0], np.ones(3))[2]) == big
check_jax()

# A loop with its gradient
(trace,) = loop(lambda each, state: [state * each + 1e-12], [x], [pt.ones((), "float64")])
f = pytensor.function([x], [trace[-1], pytensor.grad(trace[-1], x)], mode=mode)
check_jax()
value, grad = f([3.0, 1.0, 1.0])
check_jax()
assert value.dtype == grad.dtype == "float64"
np.testing.assert_allclose(value, 3 + 3e-12, rtol=1e-15)
np.testing.assert_allclose(grad, [1, 3 + 1e-12, 3 + 2e-12], rtol=1e-15)

# Random numbers
rng = pt.random.shared_rng(seed=1)
rng_1, normal = rng.normal(size=1000, dtype="float64")
rng_2, integers = rng_1.integers(big, big + 9, size=99, dtype="int64")
draw = pytensor.function([], [normal, integers], updates=[(rng, rng_2)], mode=mode)
check_jax()
first, second = draw(), draw()
check_jax()
assert not np.array_equal(first[0], second[0])
assert (first[0] != first[0].astype("float32")).mean() > 0.9
assert (first[1] >= big).all() and (first[1] < big + 9).all() and len(set(first[1].tolist())) > 3

# Several threads, one of which runs the program's own JAX code
wrong = []

def call(work):
    try:
        for _ in range(200):
            work()
    except Exception as error:
        wrong.append(error)

def compute():
    numbers, _, _ = grow([big], np.ones(3))
    assert numbers.tolist() == [2 * big + 1]

def compute_another():
    f = pytensor.function([n], n * 2 + 1, mode=mode)
    assert f([big]).tolist() == [2 * big + 1]

works = [compute, compute, compute_another, lambda: note() == before or 1 / 0]
threads = [threading.Thread(target=call, args=(work,)) for work in works[:2] + works[3:]]
threads.append(threading.Thread(target=compute_another))
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not wrong, wrong[:3]
check_jax()
"""

# PyTensor's own mode needs the option, which PyTensor's import sets without us
PYTENSORS_OWN = """
own = pytensor.function([n], n * 2 + 1, mode="JAX")
assert int(own([2**40])[0]) == 2**41 + 1
ours = pytensor.function([n], n * 2 + 1, mode=mode)
assert int(ours([2**40])[0]) == 2**41 + 1
"""

# What raises in a call
FAILS = """
f = pytensor.function([n], n[pt.as_tensor(7):][0], mode=mode)
try:
    f([1, 2, 3])
except Exception:
    pass
else:
    raise AssertionError("no error")
check_jax()
"""


def run(program, **environment):
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("JAX_")},
        **environment,
    }
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("type_of_floats", "x64"), [("float32", "0"), ("float64", "0"), ("float32", "1")]
)
def test_jax_is_left_alone_and_64_bits_are_exact(type_of_floats, x64):
    """Whatever the program has set, and whatever floatX is."""
    own = PYTENSORS_OWN if type_of_floats == "float64" else ""
    run(
        START + PROGRAM + FAILS + own,
        PYTENSOR_FLAGS=f"floatX={type_of_floats}",
        JAX_ENABLE_X64=x64,
    )


def test_what_stays_a_jax_array():
    """Results of 64 bits are NumPy arrays; others come back before they are computed, as JAX's do."""
    x, i = pt.fvector("x"), pt.ivector("i")
    wide, narrow = pt.cast(x, "float64"), pt.tanh(x)
    function = pytensor.function(
        [x, i], [wide, narrow, i, x > 0, i.sum(dtype="int64")], mode=get_mode("jax")
    )
    results = function(np.ones(3, "float32"), np.ones(3, "int32"))
    assert [isinstance(each, np.ndarray) for each in results] == [True, False, False, False, True]
    assert [str(each.dtype) for each in results] == [
        "float64",
        "float32",
        "int32",
        "bool",
        "int64",
    ]
    results[0][:] = 7  # the caller's own


@pytest.mark.slow
def test_a_loop_and_its_gradient_from_threads_of_both_kinds():
    """The same function, where the calling thread has 64 bits on or off."""
    import jax

    x = pt.dvector("x")
    (trace,) = loop(lambda each, state: [state * each + 1e-12], [x], [pt.ones((), "float64")])
    function = pytensor.function([x], pytensor.grad(trace[-1], x), mode=get_mode("jax"))
    for x64 in (False, True, False):
        with jax.enable_x64(x64):
            np.testing.assert_allclose(function([3.0, 1.0])[1], 3 + 1e-12, rtol=1e-15)
            assert jax.config.jax_enable_x64 == x64
