import numpy as np
import pytensor
import pytest

from lasagne import init
from lasagne.random import get_rng, set_rng

RANDOM = [
    init.Normal,
    init.Uniform,
    init.GlorotNormal,
    init.GlorotUniform,
    init.HeNormal,
    init.HeUniform,
    init.Sparse,
    init.Orthogonal,
]
SCALED = [init.GlorotNormal, init.GlorotUniform, init.HeNormal, init.HeUniform]


@pytest.fixture(autouse=True)
def rng():
    before = get_rng()
    set_rng(np.random.RandomState(42))
    yield
    set_rng(before)


def test_base_class_has_no_sample():
    with pytest.raises(NotImplementedError):
        init.Initializer().sample((100, 100))
    with pytest.raises(NotImplementedError):
        init.Initializer()((100, 100))


def test_call_samples():
    class Counting(init.Initializer):
        def sample(self, shape):
            return np.arange(np.prod(shape)).reshape(shape)

    assert (Counting()((2, 3)) == np.arange(6).reshape(2, 3)).all()


@pytest.mark.parametrize("initializer", [init.Constant, *RANDOM])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shape_and_dtype(initializer, dtype):
    with pytensor.config.change_flags(floatX=dtype):
        sample = initializer().sample((12, 23))
    assert sample.shape == (12, 23)
    assert sample.dtype == dtype


@pytest.mark.parametrize("initializer", RANDOM)
def test_values_follow_from_the_generator(initializer):
    samples = []
    for _ in range(2):
        set_rng(np.random.RandomState(123456789))
        samples.append(initializer().sample((100, 100)))
    assert (samples[0] == samples[1]).all()
    assert (samples[0] != initializer().sample((100, 100))).any()


def test_normal():
    sample = init.Normal().sample((300, 400))
    assert abs(sample.mean()) < 0.001
    assert 0.0099 < sample.std() < 0.0101
    sample = init.Normal(2.0, 5.0).sample((300, 400))
    assert 4.9 < sample.mean() < 5.1
    assert 1.98 < sample.std() < 2.02


@pytest.mark.parametrize(
    ("arguments", "low", "high"),
    [
        ({}, -0.01, 0.01),
        ({"range": 1.0}, -1.0, 1.0),
        ({"range": (0.0, 1.0)}, 0.0, 1.0),
        ({"range": (2, 3)}, 2.0, 3.0),
        ({"std": 1.0, "mean": 5.0}, 5 - 3**0.5, 5 + 3**0.5),
    ],
)
def test_uniform(arguments, low, high):
    sample = init.Uniform(**arguments).sample((300, 400))
    margin = 0.01 * (high - low)
    assert low <= sample.min() < low + margin
    assert high - margin < sample.max() <= high


def test_uniform_std():
    sample = init.Uniform(std=1.0, mean=5.0).sample((300, 400))
    assert 4.9 < sample.mean() < 5.1
    assert 0.99 < sample.std() < 1.01


@pytest.mark.parametrize("initializer", SCALED)
@pytest.mark.parametrize(
    ("shape", "c01b", "glorot", "he"),
    [
        ((100, 300), False, 2 / 400, 1 / 100),
        ((50, 40, 9), False, 2 / (90 * 9), 1 / (40 * 9)),
        ((50, 40, 3, 3), False, 2 / (90 * 9), 1 / (40 * 9)),
        ((40, 3, 3, 50), True, 2 / (90 * 9), 1 / (40 * 9)),
    ],
)
@pytest.mark.parametrize(("gain", "factor"), [(1.0, 1), (10.0, 10), ("relu", 2**0.5)])
def test_scaled_std(initializer, shape, c01b, glorot, he, gain, factor):
    sample = initializer(gain=gain, c01b=c01b).sample(shape)
    expected = factor * (glorot if issubclass(initializer, init.Glorot) else he) ** 0.5
    assert sample.shape == shape
    assert abs(sample.mean()) < 0.05 * expected
    assert 0.97 * expected < sample.std() < 1.03 * expected


@pytest.mark.parametrize("initializer", SCALED)
def test_scaled_errors(initializer):
    with pytest.raises(RuntimeError, match=rf"{initializer.__name__} .*two dimensions.*\(100,\)"):
        initializer().sample((100,))
    for shape in [(100,), (100, 100), (100, 100, 100), (1, 2, 3, 4, 5)]:
        with pytest.raises(RuntimeError, match="four dimensions"):
            initializer(c01b=True).sample(shape)
    with pytest.raises(ValueError, match="'tanh'"):
        initializer(gain="tanh")


def test_scaled_takes_any_initializer_with_std():
    class Spike(init.Initializer):
        def __init__(self, std):
            self.std = std

        def sample(self, shape):
            return np.full(shape, self.std)

    assert np.allclose(init.Glorot(Spike).sample((3, 5)), 0.5)
    assert np.allclose(init.He(Spike).sample((4, 5)), 0.5)


def test_constant():
    assert (init.Constant().sample((10, 20)) == 0).all()
    assert (init.Constant(1.0).sample((10, 20)) == 1.0).all()
    assert (init.Constant(np.arange(20)).sample((10, 20)) == np.arange(20)).all()


def test_sparse():
    sample = init.Sparse(sparsity=0.1, std=0.5).sample((200, 30))
    assert ((sample != 0).sum(axis=0) == 20).all()
    assert 0.45 < sample[sample != 0].std() < 0.55
    # Not the same rows in every column.
    assert len({tuple(np.flatnonzero(column)) for column in sample.T}) > 1


@pytest.mark.parametrize("shape", [(100,), (2, 3, 4)])
def test_sparse_needs_a_matrix(shape):
    with pytest.raises(RuntimeError, match="two dimensions"):
        init.Sparse().sample(shape)


@pytest.mark.parametrize(("gain", "factor"), [(1.0, 1), (3, 9), ("relu", 2)])
@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (40, 40), (10, 5, 8)])
def test_orthogonal(shape, gain, factor):
    sample = init.Orthogonal(gain).sample(shape)
    assert sample.shape == shape
    matrix = sample.reshape(shape[0], -1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    assert np.allclose(matrix @ matrix.T, factor * np.eye(len(matrix)), atol=1e-6)


def test_orthogonal_errors():
    with pytest.raises(RuntimeError, match="at least two dimensions"):
        init.Orthogonal().sample((100,))
    with pytest.raises(ValueError, match="'tanh'"):
        init.Orthogonal(gain="tanh")
