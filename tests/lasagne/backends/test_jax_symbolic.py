"""Sizes without a number: graphs that compute with sizes, exported once for all of them."""

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from jax import export

from lasagne.backends.jax_functions import make_pure
from lasagne.backends.modes import get_mode
from lasagne.checks import check_same_size

GRAPHS = {
    "reshape": lambda x: (x.reshape((-1, 3)) @ np.ones((3, 2))).reshape(
        (x.shape[0], x.shape[1], 2)
    ),
    "reshape to a product": lambda x: x.reshape((x.shape[0] * x.shape[1], x.shape[2])),
    "arange": lambda x: x[:, :, 0] * pt.arange(x.shape[1]),
    "positions": lambda x: x[pt.arange(x.shape[0]), 0, pt.zeros((x.shape[0],), "int64")],
    "last step": lambda x: x[:, -1],
    "first step": lambda x: x[:, 0],
    "last by number": lambda x: x[:, x.shape[1] - 1],
    "half": lambda x: x[:, : (x.shape[1] + 1) // 2],
    "write": lambda x: pt.set_subtensor(x[:, 0, 1:], 7.0),
    "write all": lambda x: pt.inc_subtensor(x[: x.shape[0]], 1.0),
    "write last": lambda x: pt.inc_subtensor(x[pt.arange(x.shape[0]), -1], 1.0),
    "zeros": lambda x: pt.concatenate([x, pt.zeros((x.shape[0], 2, x.shape[2]))], axis=1),
    "mean": lambda x: x.mean(axis=(0, 1)) + x.sum() / x.shape[1],
    "size": lambda x: x.sum() / x.size,
    "shapes joined": lambda x: pt.zeros(pt.concatenate([x.shape[:1], x.shape[2:]])) + x[:, 0],
    "product of sizes": lambda x: pt.zeros((pt.prod(x.shape[:2]),)),
    "sum of sizes": lambda x: pt.zeros((pt.sum(x.shape),)),
    "larger of sizes": lambda x: pt.zeros((pt.maximum(x.shape[0], x.shape[1]), 2)),
    "choice by a size": lambda x: x * pt.switch(x.shape[0] > 2, 1.0, -1.0),
    "choice by one": lambda x: x * pt.switch(pt.eq(x.shape[0], 1), 1.0, -1.0),
    "choice that is known": lambda x: pt.zeros((pt.switch(x.shape[0] >= 1, x.shape[1], 3),)),
    "remainder": lambda x: x * (x.shape[1] % 2),
    "as a number": lambda x: pt.cast(x.shape[0], "float64") * x,
    "as a truth value": lambda x: pt.cast(x.shape[0] - 1, "bool") * x,
    "outputs that are sizes": lambda x: pt.stack([x.shape[0], -x.shape[1]]),
    "check": lambda x: check_same_size(x + 1, x, 0, "the batch"),
    "broadcast": lambda x: x + pt.ones((x.shape[0], 1, 1)) * x.sum(axis=1, keepdims=True),
}


def export_graph(*outputs_of_x):
    """Export graphs of a tensor (batch, time, 3): return a plain function and what calls the exported one."""
    x = pt.tensor("x", dtype="float64", shape=(None, None, 3))
    outputs = [make(x) for make in outputs_of_x]
    function = pytensor.function([x], outputs, mode=get_mode("jax"))
    shape = export.symbolic_shape("batch, time, 3")
    with jax.enable_x64(True):
        program = export.export(jax.jit(make_pure(function).function))(
            jax.ShapeDtypeStruct(shape, "float64")
        )

    def call(value):
        with jax.enable_x64(True):
            return [np.asarray(result) for result in program.call(value)]

    return pytensor.function([x], outputs, mode="FAST_COMPILE"), call


@pytest.mark.slow
def test_one_export_for_all_sizes():
    function, call = export_graph(*GRAPHS.values())
    rng = np.random.default_rng(0)
    for shape in [(1, 4, 3), (3, 2, 3)]:
        x = rng.normal(size=shape)
        for name, expected, result in zip(GRAPHS, function(x), call(x), strict=True):
            expected = np.asarray(expected)
            assert expected.dtype == result.dtype, name
            np.testing.assert_allclose(result, expected, 1e-12, 1e-12, err_msg=f"{name} {shape}")


def test_an_index_beyond_a_size_is_marked():
    """An index that is known raises an error at once where the size is known; here only the call tells."""
    _, call = export_graph(lambda x: x[:, 2])
    assert np.isnan(call(np.ones((2, 2, 3)))).all()
    np.testing.assert_array_equal(call(np.ones((2, 3, 3))), 1)


def test_a_size_that_depends_on_values_is_refused():
    with pytest.raises(TypeError, match="concrete values"):
        export_graph(lambda x: pt.zeros((x.sum().astype("int64"),)))


def test_sizes_that_are_wrong_whatever_they_are():
    with pytest.raises(ValueError, match=r"the batch: 2\*batch instead of batch"):
        export_graph(
            lambda x: check_same_size(pt.concatenate([x, x]), x, 0, "the batch"),
        )
