"""The DNC's equations against plain NumPy, and at their edges."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lasagne.loop import loop
from ntm.addressing import allocation, temporal_links

from .. import dnc_reference
from ..networks import to_jax, to_python

B, W, R, N = 2, 2, 3, 7


def gates(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape)


def weightings(*shape, seed=0):
    """Not negative, and less than one in sum."""
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1] + 1), shape[:-1])[..., :-1]


def some_links(seed=0):
    links = weightings(B, N, N, seed=seed) / 2
    return links * (1.0 - np.eye(N))


def make_inputs(*values):
    return [pt.tensor(dtype=each.dtype, shape=(None, *each.shape[1:])) for each in values]


def evaluate(function, *values, compile=to_python):
    inputs = make_inputs(*values)
    return compile(inputs, function(*inputs))(*values)


def per_sequence(function, *values):
    return np.array([function(*(each[b] for each in values)) for b in range(B)])


def assert_close(value, expected):
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)


def test_retention():
    values = gates(B, R), weightings(B, R, N)
    expected = per_sequence(dnc_reference.retention, *values)
    assert_close(evaluate(allocation.get_retention, *values), expected)


@pytest.mark.parametrize("num_writes", [1, W])
def test_usage(num_writes):
    values = gates(B, N), weightings(B, num_writes, N), gates(B, N, seed=1)
    expected = per_sequence(dnc_reference.usage_after, *values)
    assert_close(evaluate(allocation.update_usage, *values), expected)


USAGES = np.array(
    [
        np.zeros(N),
        np.ones(N),
        np.full(N, 0.3),
        np.array([0.5, 0.2, 0.5, 0.2, 0.0, 1.0, 0.0]),
        np.arange(N) / N,
        np.arange(N)[::-1] / N,
        gates(N),
    ]
)


@pytest.mark.parametrize("compile", [to_python, to_jax])
def test_allocation(compile):
    expected = np.array([dnc_reference.allocation(usage) for usage in USAGES])
    assert_close(evaluate(allocation.get_allocation, USAGES, compile=compile), expected)


def test_allocation_by_hand():
    def allocate(usage):
        return allocation.get_allocation(usage, eps=0.0)

    usage = np.array([[0.5, 0.25, 1.0, 0.25]])
    expected = [[0.5 * 0.25 * 0.25, 0.75, 0.0, 0.75 * 0.25]]
    assert_close(evaluate(allocate, usage), expected)


def test_allocation_takes_the_first_of_free_slots():
    weights = evaluate(allocation.get_allocation, np.zeros((1, N)))
    np.testing.assert_allclose(weights, np.eye(1, N), atol=2e-6)


@pytest.mark.parametrize("compile", [to_python, to_jax])
def test_gradient_of_the_allocation(compile):
    """It is that of the product along the sorted slots, whose order is as it was."""
    usage = gates(B, N)
    direction = gates(B, N, seed=1)
    (x,) = make_inputs(usage)
    cost = (allocation.get_allocation(x) * pt.cos(pt.arange(N))).sum()
    function = compile([x], [cost, pytensor.grad(cost, x)])
    costs = [function(usage + step * direction)[0] for step in (1e-6, -1e-6)]
    slope = (function(usage)[1] * direction).sum()
    np.testing.assert_allclose(slope, (costs[0] - costs[1]) / 2e-6, rtol=1e-7)


def test_gradient_of_the_allocation_at_the_edges(float32):
    usages = USAGES.astype("float32")
    (x,) = make_inputs(usages)
    cost = (allocation.get_allocation(x) ** 2).sum()
    grad = to_jax([x], pytensor.grad(cost, x))(usages)
    assert grad.dtype == "float32"
    assert np.isfinite(grad).all()


@pytest.mark.parametrize("num_writes", [1, W])
def test_write_weights(num_writes):
    values = (
        weightings(B, num_writes, N),
        gates(B, N),
        gates(B, num_writes, seed=1),
        gates(B, num_writes, seed=2),
    )
    expected = per_sequence(dnc_reference.write_weights, *values)
    assert_close(evaluate(allocation.get_write_weights, *values), expected)


def test_precedence():
    values = weightings(B, W, N), weightings(B, W, N, seed=1)
    expected = per_sequence(
        lambda *both: [dnc_reference.precedence_after(*each) for each in zip(*both, strict=True)],
        *values,
    )
    assert_close(evaluate(temporal_links.update_precedence, *values), expected)


def test_links():
    values = some_links(), weightings(B, N), weightings(B, N, seed=1)
    links = evaluate(temporal_links.update_links, *values)
    assert_close(links, per_sequence(dnc_reference.links_after, *values))
    assert not np.any(links[:, np.arange(N), np.arange(N)])


def test_links_follow_the_order_of_writing():
    """After slots 3, 1 and 4 are written to, forward leads from 1 to 4 and backward from 1 to 3."""
    links, precedence = np.zeros((1, N, N)), np.zeros((1, 1, N))
    for slot in (3, 1, 4):
        write = np.eye(N)[None, slot]
        links = evaluate(temporal_links.update_links, links, write, precedence[:, 0])
        precedence = evaluate(temporal_links.update_precedence, precedence, write[:, None])
    read = np.eye(N)[None, None, 1]
    forward = evaluate(temporal_links.get_forward_weights, links, read)
    backward = evaluate(temporal_links.get_backward_weights, links, read)
    assert_close(forward, np.eye(N)[None, None, 4])
    assert_close(backward, np.eye(N)[None, None, 3])


@pytest.mark.slow
@pytest.mark.parametrize("num_reads", [1, R])
@pytest.mark.parametrize("compile", [to_python, to_jax])
def test_following_the_links(compile, num_reads):
    """All at once: the same values, and by central differences the right gradients."""
    values = [
        some_links(),
        weightings(B, N),
        weightings(B, N, seed=1),
        weightings(B, num_reads, N, seed=2),
    ]
    inputs = make_inputs(*values)
    outputs = list(temporal_links.follow_links(*inputs))
    cost = sum(
        (each * pt.cos(k + pt.arange(each.size)).reshape(each.shape)).sum()
        for k, each in enumerate(outputs)
    )
    function = compile(inputs, [*outputs, cost, *pytensor.grad(cost, inputs)])
    results = function(*values)
    expected = per_sequence(dnc_reference.links_after, *values[:3])
    assert_close(results[0], expected)
    assert_close(results[1], values[3] @ expected)
    assert_close(results[2], values[3] @ expected.transpose(0, 2, 1))
    for k, value in enumerate(values):
        direction = np.random.default_rng(k).normal(size=value.shape)
        costs = [
            function(*values[:k], value + step * direction, *values[k + 1 :])[3]
            for step in (1e-6, -1e-6)
        ]
        slope = (results[4 + k] * direction).sum()
        np.testing.assert_allclose(slope, (costs[0] - costs[1]) / 2e-6, rtol=1e-7, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("num_reads", [1, 4, 9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_following_the_links_in_a_loop_on_jax(dtype, num_reads):
    """JAX has arithmetic of its own for it: the same as one equation after another, differentiated by PyTensor."""
    steps, slots = 3, 20
    values = [
        weightings(steps, B, slots, seed=1),
        weightings(steps, B, slots, seed=2),
        weightings(steps, B, num_reads, slots, seed=3),
        weightings(B, slots, slots) * (1.0 - np.eye(slots)),
    ]
    tolerance = {"float32": 1e-5, "float64": 1e-13}[dtype]

    def follow_one_by_one(links, write_weights, precedence, read_weights):
        links = temporal_links.update_links(links, write_weights, precedence)
        backward = temporal_links.get_backward_weights(links, read_weights)
        return [links, backward, temporal_links.get_forward_weights(links, read_weights)]

    def differentiate(follow, compile):
        inputs = make_inputs(*values)
        nowhere = pt.zeros_like(inputs[2][0])
        outputs = loop(
            lambda write, precedence, read, links, *_: follow(links, write, precedence, read),
            inputs[:3],
            [inputs[3], nowhere, nowhere],
        )
        weights = (pt.cos(k + pt.arange(each.size)) for k, each in enumerate(outputs))
        cost = sum(
            (each * factor.astype(each.dtype).reshape(each.shape)).sum()
            for each, factor in zip(outputs, weights, strict=True)
        )
        return compile(inputs, [*outputs, *pytensor.grad(cost, inputs)])(*values)

    expected = differentiate(follow_one_by_one, to_python)
    values = [each.astype(dtype) for each in values]
    with pytensor.config.change_flags(floatX=dtype):
        results = differentiate(temporal_links.follow_links, to_jax)
    for result, wanted in zip(results, expected, strict=True):
        assert result.dtype == dtype
        np.testing.assert_allclose(result, wanted, rtol=tolerance, atol=tolerance)


def test_read_weights():
    links = np.stack([some_links(), some_links(1)], axis=1)
    content, previous = weightings(B, R, N), weightings(B, R, N, seed=1)
    modes = weightings(B, R, 2 * W + 1, seed=2)

    def read(links, content, modes, previous):
        backward = [temporal_links.get_backward_weights(links[:, w], previous) for w in range(W)]
        forward = [temporal_links.get_forward_weights(links[:, w], previous) for w in range(W)]
        return temporal_links.get_read_weights(backward, content, forward, modes)

    expected = [
        [
            dnc_reference.read_weights(links[b], content[b, r], modes[b, r], previous[b, r])
            for r in range(R)
        ]
        for b in range(B)
    ]
    assert_close(evaluate(read, links, content, modes, previous), expected)


def test_unknown_number_of_heads():
    with pytest.raises(ValueError, match="number of heads"):
        allocation.get_retention(pt.matrix(), pt.tensor3())


# ---- Weights stay weights

_bounded = {}


def bounded(name, make):
    """A function that is compiled once."""
    if name not in _bounded:
        inputs, outputs = make()
        _bounded[name] = to_python(inputs, outputs)
    return _bounded[name]


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(arrays("float64", (1, N), elements=st.floats(0, 1)))
def test_allocation_is_a_weighting(usage):
    def make():
        (x,) = make_inputs(usage)
        return [x], allocation.get_allocation(x)

    weights = bounded("allocation", make)(usage)
    assert (weights >= 0).all()
    assert weights.sum() <= 1 + 1e-9
    assert_close(weights[0], dnc_reference.allocation(usage[0]))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    st.lists(arrays("float64", N, elements=st.floats(0, 1)), min_size=1, max_size=12),
    st.booleans(),
)
def test_rows_and_columns_of_links_are_weightings(writes, sharp):
    def make():
        inputs = make_inputs(np.zeros((1, N, N)), np.zeros((1, N)), np.zeros((1, 1, N)))
        links, write, precedence = inputs
        return inputs, [
            temporal_links.update_links(links, write, precedence[:, 0]),
            temporal_links.update_precedence(precedence, write[:, None]),
        ]

    update = bounded("links", make)
    links, precedence = np.zeros((1, N, N)), np.zeros((1, 1, N))
    for write in writes:
        write = np.eye(N)[write.argmax()] if sharp else write / max(1.0, write.sum())
        links, precedence = update(links, write[None], precedence)
        assert (links >= -1e-12).all()
        assert links.sum(axis=1).max() <= 1 + 1e-9
        assert links.sum(axis=2).max() <= 1 + 1e-9
        assert precedence.sum() <= 1 + 1e-9
