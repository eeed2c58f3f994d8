"""What a mask hides from the memory layers: the input of the steps at which it is zero."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.layers import InputLayer, get_all_params
from lasagne.nonlinearities import tanh
from ntm.controllers import LSTMController
from ntm.heads.ntm import ReadHead, WriteHead
from ntm.layers.base import keep_where_masked
from ntm.layers.dnc import DNCLayer
from ntm.layers.ntm import NTMLayer
from ntm.layers.sam import SAMLayer
from ntm.layers.sdnc import SDNCLayer
from ntm.layers.shared import SharedMemoryLayer

from ..networks import B, F, T, data, randomize, to_jax, to_python

MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]], dtype="int8")
assert MASK.shape == (B, T)


def lstm(layer):
    return LSTMController(layer, num_units=4, nonlinearity=tanh)


KINDS = {
    "ntm": partial(NTMLayer, controller=lstm, heads=[WriteHead, ReadHead]),
    "dnc": partial(DNCLayer, controller=lstm, num_reads=2),
    "sam": partial(SAMLayer, controller=lstm, num_reads=2, num_read_slots=3),
    "sdnc": partial(SDNCLayer, controller=lstm, num_read_slots=2, num_links=2),
}
for kind in ("ntm", "sam"):
    KINDS[f"shared {kind}"] = partial(SharedMemoryLayer, levels=[KINDS[kind]] * 2)


def make(kind, incoming=(None, None, F), mask=(None, None), **options):
    layer = KINDS[kind](InputLayer(incoming), (6, 3), mask_input=InputLayer(mask), **options)
    randomize(layer)
    return layer


def assert_hidden(inputs, output, wrt, values, compile=to_jax):
    """Whatever the first input holds where the second, the mask, is zero: output and gradients are the same."""
    grads = pytensor.grad((output**2).sum(), wrt, disconnected_inputs="ignore")
    function = compile(inputs, [output, *grads])
    x, mask, *rest = values
    results = []
    for number in (0.0, 0.7, np.nan, np.inf):
        x = x.copy()
        x[mask == 0] = number
        results.append(function(x, mask, *rest))
    assert np.any(results[0][0])
    assert np.any(results[0][1])
    for result in results[1:]:
        for one, other in zip(result, results[0], strict=True):
            assert np.all(np.isfinite(one))
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ntm", {}),
        ("ntm", {"backwards": True, "precompute_input": False, "checkpoint_every": 2}),
        ("dnc", {"gradient_steps": 3, "grad_clipping": 1.0, "only_return_final": True}),
        ("sam", {"backwards": True, "only_return_final": True, "precompute_input": False}),
        ("sdnc", {}),
        ("shared ntm", {"gradient_steps": 2}),
        ("shared sam", {}),
    ],
)
def test_masked_input_changes_nothing(kind, options, float32):
    layer = make(kind, **options)
    x, mask = pt.tensor3("x"), pt.bmatrix("mask")
    output = layer.get_output_for([x, mask])
    assert_hidden([x, mask], output, [x, *get_all_params(layer)], [data(B, T, F), MASK])


@pytest.mark.slow
def test_masked_input_changes_nothing_in_steps_laid_out():
    layer = make("ntm", incoming=(B, 2, F), mask=(B, 2), unroll_scan=True)
    x, mask = pt.tensor3("x"), pt.bmatrix("mask")
    output = layer.get_output_for([x, mask])
    wrt, values = [x, *get_all_params(layer)], [data(B, 2, F), MASK[:, 2:]]
    assert_hidden([x, mask], output, wrt, values, to_python)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ntm", "sam", "shared ntm"])
def test_masked_input_of_one_step_changes_nothing(kind):
    layer = make(kind)
    x, mask, state = pt.matrix("x"), pt.bvector("mask"), layer.get_initial_state(B)
    output = layer.get_output_of(layer.step(x, state, mask))
    wrt = [x, *get_all_params(layer)]
    assert_hidden([x, mask], output, wrt, [data(B, F), MASK[:, 2]], to_python)


def test_masked_sequences_keep_their_old_parts():
    new, old = [pt.ones((3, 2)), pt.ones(3)], [pt.zeros((3, 2)), pt.zeros(3)]
    parts = to_python([], keep_where_masked(pt.as_tensor([1.0, 0.0, 1.0]), new, old))()
    np.testing.assert_array_equal(parts[0], [[1, 1], [0, 0], [1, 1]])
    np.testing.assert_array_equal(parts[1], [1, 0, 1])
    assert keep_where_masked(None, new, old) == new
