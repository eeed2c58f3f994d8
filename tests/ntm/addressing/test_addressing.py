"""Each primitive against plain NumPy in float64, and at its edges in float32."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from ntm import addressing
from ntm.similarities import cosine_similarity

from .. import reference
from ..networks import to_jax, to_python

B, K, N, M = 2, 3, 6, 4


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def weightings(*shape, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1])


def evaluate(function, *arrays):
    inputs = [pt.tensor(dtype=a.dtype, shape=a.shape) for a in arrays]
    return to_python(inputs, function(*inputs))(*arrays)


def slots_last(memory):
    return memory.transpose(0, 2, 1)


def content_weights(key, beta, memory, **options):
    """`addressing.content_weights` with a memory (B, N, M), as all functions of these tests take it."""
    return addressing.content_weights(key, beta, slots_last(memory), **options)


def read(memory, weights):
    return addressing.read(slots_last(memory), weights)


def write(memory, weights, erase, add):
    return slots_last(addressing.write(slots_last(memory), weights, erase, add))


def per_head(function, *arrays):
    """Apply a function of one sequence and one head to all."""
    return np.array([[function(*(a[b, k] for a in arrays)) for k in range(K)] for b in range(B)])


def assert_close(value, expected):
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)


def test_content_weights():
    key, memory = normal(B, K, M), normal(B, N, M)
    beta = np.abs(normal(B, K, seed=1)) * 5
    memories = np.repeat(memory[:, None], K, axis=1)

    def one_head(key, beta, memory):
        return reference.softmax(
            beta * np.array([reference.cosine_similarity(key, row) for row in memory])
        )

    value = evaluate(content_weights, key, beta, memory)
    assert_close(value, per_head(one_head, key, beta, memories))


def test_content_weights_by_another_similarity():
    def dot(key, memory):
        return pt.matmul(key, memory)

    key, beta, memory = normal(B, K, M), np.ones((B, K)), normal(B, N, M)
    value = evaluate(lambda *a: content_weights(*a, similarity=dot), key, beta, memory)
    assert_close(value, reference.softmax(np.einsum("bkm,bnm->bkn", key, memory)))


@pytest.mark.slow
def test_a_key_strength_beyond_the_largest_is_the_largest():
    # So much alike that a million tells them apart a little, and more would do so altogether
    key, memory = np.eye(1, M)[None], np.ones((1, N, M))
    memory[:, :, 1] += 1e-6 * np.arange(N)
    likeness = np.array([reference.cosine_similarity(key[0, 0], row) for row in memory[0]])
    expected = reference.softmax(1e6 * likeness)
    assert 0.1 < expected.min() < expected.max() < 0.4
    for beta in (1e6, 1e8, 1e20, np.inf):
        value = evaluate(content_weights, key, np.full((1, 1), beta), memory)
        np.testing.assert_allclose(value[0, 0], expected, rtol=1e-6)
    value = evaluate(content_weights, key, np.full((1, 1), 5e5), memory)
    np.testing.assert_allclose(value[0, 0], reference.softmax(5e5 * likeness), rtol=1e-6)


def test_a_sharpening_beyond_the_largest_is_the_largest():
    weights = np.full((1, 1, N), 1 / N) + 1e-7 * np.arange(N)
    expected = reference.softmax(1e6 * np.log(weights[0, 0] + 1e-6))
    assert 0.01 < expected.min() < expected.max() < 0.6
    for gamma in (1e6, 1e8, 1e20, np.inf):
        value = evaluate(addressing.sharpen, weights, np.full((1, 1), gamma))
        np.testing.assert_allclose(value[0, 0], expected, rtol=1e-6)


def test_interpolate():
    content, previous = weightings(B, K, N), weightings(B, K, N, seed=1)
    gate = np.array([[0.0, 1.0, 0.3], [0.5, 0.9, 0.1]])
    value = evaluate(addressing.interpolate, content, previous, gate)
    expected = per_head(lambda c, p, g: g * c + (1 - g) * p, content, previous, gate)
    assert_close(value, expected)
    np.testing.assert_array_equal(value[0, 0], previous[0, 0])
    np.testing.assert_array_equal(value[0, 1], content[0, 1])


@pytest.mark.parametrize(
    ("num_shifts", "offsets"),
    [(1, [0]), (2, [0, 1]), (3, [-1, 0, 1]), (4, [-1, 0, 1, 2]), (5, [-2, -1, 0, 1, 2])],
)
def test_shift_offsets(num_shifts, offsets):
    assert addressing.shift_offsets(num_shifts) == offsets


@pytest.mark.parametrize("mode", addressing.SHIFT_MODES)
@pytest.mark.parametrize("num_shifts", range(1, N + 1))
def test_convolutional_shift(num_shifts, mode):
    weights, shift = weightings(B, K, N), weightings(B, K, num_shifts, seed=1)
    value = evaluate(lambda w, s: addressing.convolutional_shift(w, s, mode), weights, shift)
    expected = per_head(lambda w, s: reference.shift_weights(w, s, mode), weights, shift)
    assert_close(value, expected)
    if mode == "circular":
        assert_close(value.sum(axis=-1), 1.0)


@pytest.mark.slow
def test_shift_of_a_one_hot_weighting_moves_it():
    weights = np.zeros((1, 1, N))
    weights[0, 0, 4] = 1.0
    for k, offset in enumerate(addressing.shift_offsets(5)):
        shift = np.zeros((1, 1, 5))
        shift[0, 0, k] = 1.0
        padded = evaluate(addressing.convolutional_shift, weights, shift)[0, 0]
        circular = evaluate(
            lambda w, s: addressing.convolutional_shift(w, s, "circular"), weights, shift
        )[0, 0]
        np.testing.assert_array_equal(circular, np.roll(weights[0, 0], offset))
        expected = np.eye(N)[4 + offset] if 4 + offset < N else np.zeros(N)
        np.testing.assert_array_equal(padded, expected)


def test_shift_with_slots_unknown_when_built():
    weights, shift = pt.tensor3("w"), pt.tensor("s", shape=(None, None, 4))
    for mode in addressing.SHIFT_MODES:
        output = addressing.convolutional_shift(weights, shift, mode)
        value = to_python([weights, shift], output)(weightings(B, K, N), weightings(B, K, 4))
        expected = per_head(
            lambda w, s, mode=mode: reference.shift_weights(w, s, mode),
            weightings(B, K, N),
            weightings(B, K, 4),
        )
        assert_close(value, expected)


def test_errors_of_the_shift():
    weights = pt.tensor3("w")
    with pytest.raises(ValueError, match=r"'zero-padded', 'circular'.*not 'mirror'"):
        addressing.convolutional_shift(weights, pt.tensor(shape=(None, None, 3)), "mirror")
    with pytest.raises(ValueError, match=r"number of shifts .* must be static"):
        addressing.convolutional_shift(weights, pt.tensor3("s"))


def test_sharpen():
    weights = weightings(B, K, N)
    gamma = np.array([[1.0, 2.5, 10.0], [1.5, 40.0, 3.0]])
    expected = per_head(reference.sharpen, weights, gamma)
    value = evaluate(addressing.sharpen, weights, gamma)
    np.testing.assert_allclose(value, expected, rtol=1e-11)
    value = evaluate(lambda w, g: addressing.sharpen(w, g, eps=0.1), weights, gamma)
    expected = per_head(lambda w, g: reference.sharpen(w, g, 0.1), weights, gamma)
    np.testing.assert_allclose(value, expected, rtol=1e-11)


def test_read():
    memory, weights = normal(B, N, M), weightings(B, K, N)
    expected = [
        [sum(weights[b, k, i] * memory[b, i] for i in range(N)) for k in range(K)] for b in range(B)
    ]
    assert_close(evaluate(read, memory, weights), expected)


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_write(heads):
    memory, weights = normal(B, N, M), weightings(B, heads, N)
    erase, add = weightings(B, heads, M, seed=1), normal(B, heads, M, seed=2)
    expected = memory.copy()
    for b in range(B):
        for k in range(heads):
            for i in range(N):
                expected[b, i] *= 1 - weights[b, k, i] * erase[b, k]
    for b in range(B):
        for k in range(heads):
            for i in range(N):
                expected[b, i] += weights[b, k, i] * add[b, k]
    assert_close(evaluate(write, memory, weights, erase, add), expected)


def test_write_replaces_a_slot():
    weights, ones = np.eye(N)[None, 2:3], np.ones((1, 1, M))
    memory = normal(1, N, M)
    value = evaluate(write, memory, weights, ones, 7 * ones)
    np.testing.assert_allclose(value[0, 2], 7.0)
    np.testing.assert_array_equal(np.delete(value[0], 2, 0), np.delete(memory[0], 2, 0))


def test_write_needs_to_know_the_number_of_heads():
    tensors = [pt.tensor3(name) for name in ("memory", "weights", "erase", "add")]
    with pytest.raises(ValueError, match=r"number of heads .* must be static"):
        write(*tensors)


# ---- Edges: finite values and gradients in float32

ONE_HOT = np.eye(N)[None, :K]
UNIFORM = np.full((1, K, N), 1 / N)
KEYS = {
    "normal": normal(1, K, M),
    "zero": np.zeros((1, K, M)),
    "tiny": np.full((1, K, M), 1e-30),
    "huge": np.full((1, K, M), 1e15),
}
MEMORIES = {
    "normal": normal(1, N, M),
    "zero": np.zeros((1, N, M)),
    "initial": np.full((1, N, M), 1e-6),
    "huge": 1e15 * normal(1, N, M),
    "mixed": normal(1, N, M) * np.array([0, 1e-30, 1e-6, 1, 1e6, 1e15])[None, :, None],
}


def circular_shift(weights, shift):
    return addressing.convolutional_shift(weights, shift, "circular")


def edge_cases():
    for beta in (0.0, 1.0, 1e3, 1e6, 1e9, 1e38):
        for key in KEYS.values():
            for memory in MEMORIES.values():
                yield content_weights, [key, np.full((1, K), beta), memory]
                if beta == 1.0:
                    yield cosine_similarity, [key, memory]
    for weights in (ONE_HOT, UNIFORM, np.zeros((1, K, N))):
        for gate in (0.0, 1.0, 1e-30):
            yield addressing.interpolate, [weights, UNIFORM, np.full((1, K), gate)]
        for gamma in (1.0, 2.0, 10.0, 47.0, 100.0, 1e6, 1e9, 1e38):
            yield addressing.sharpen, [weights, np.full((1, K), gamma)]
        shift = np.tile(np.eye(3), (1, 1, 1))
        yield addressing.convolutional_shift, [weights, shift]
        yield circular_shift, [weights, shift]
        for memory in MEMORIES.values():
            yield read, [memory, weights]
            for erase in (0.0, 1.0):
                arrays = [memory, weights, np.full((1, K, M), erase), KEYS["huge"]]
                yield write, arrays


# PyTensor multiplies lengths of 1e15 with each other; that an infinity is divided by does no harm
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("compile_function", [to_python, to_jax])
@pytest.mark.parametrize(
    "function",
    [
        content_weights,
        cosine_similarity,
        addressing.interpolate,
        addressing.sharpen,
        addressing.convolutional_shift,
        circular_shift,
        read,
        write,
    ],
    ids=lambda function: function.__name__,
)
def test_edges_are_finite_in_float32(function, compile_function):
    cases = [arrays for f, arrays in edge_cases() if f is function]
    with pytensor.config.change_flags(floatX="float32"):
        inputs = [pt.tensor(dtype="float32", shape=a.shape) for a in cases[0]]
        output = function(*inputs)
        # Every entry counts differently, so that gradients through a softmax do not cancel
        factors = np.linspace(-1, 1, int(np.prod(output.type.shape)), dtype="float32")
        cost = (output * factors.reshape(output.type.shape)).sum()
        compiled = compile_function(inputs, [output, *pytensor.grad(cost, inputs)])
    for arrays in cases:
        value, *grads = compiled(*(a.astype("float32") for a in arrays))
        assert value.dtype == np.float32
        assert np.all(np.isfinite(value)), arrays
        for grad in grads:
            assert np.all(np.isfinite(grad)), arrays


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [1.0, 10.0, 47.0, 100.0])
def test_sharpen_in_float32_is_right_where_the_power_underflows(gamma):
    weights = np.array([[[0.5, 0.3, 0.2, 0.0], [0.1, 0.1, 0.1, 0.1], [1.0, 0.0, 0.0, 0.0]]])
    gammas = np.full((1, 3), gamma)
    expected = [reference.sharpen(w, gamma) for w in weights[0]]
    value = evaluate(addressing.sharpen, weights.astype("float32"), gammas.astype("float32"))
    np.testing.assert_allclose(value[0], expected, atol=1e-5)
