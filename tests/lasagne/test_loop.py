"""The loop against a loop in NumPy, and its gradients by JAX against those by PyTensor."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.layers._random import RandomStream
from lasagne.loop import Loop, LoopGradient, loop
from lasagne.tensors import update_by_default

T, B, F, H = 5, 3, 2, 4
MODES = {"python": "FAST_COMPILE", "jax": get_mode("jax")}
OPTIONS = [
    {},
    {"backwards": True},
    {"gradient_steps": 2},
    {"checkpoint_every": 2},
    {"checkpoint_every": T},
    {"checkpoint_every": T + 1},
    {"checkpoint_every": 3, "backwards": True},
    {"checkpoint_every": 2, "gradient_steps": 3},
]


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def evaluate(inputs, outputs, values, mode, **options):
    return [
        np.asarray(value)
        for value in pytensor.function(inputs, outputs, mode=mode, **options)(*values)
    ]


class Problem:
    """A loop with two sequences, two states and two constants, and the same in NumPy."""

    def __init__(self, **options):
        self.x, self.y = pt.tensor3("x"), pt.matrix("y")
        self.h, self.c = pt.matrix("h"), pt.vector("c")
        self.W, self.V = (
            pytensor.shared(normal(F, H, seed=1)),
            pytensor.shared(normal(H, H, seed=2)),
        )
        self.inputs = [self.x, self.y, self.h, self.c]
        self.values = [
            normal(T, B, F),
            normal(T, B, seed=3),
            normal(B, H, seed=4),
            normal(B, seed=5),
        ]
        self.options = options
        self.traces = loop(self.step, [self.x, self.y], [self.h, self.c], **options)
        self.cost = sum(
            (trace * pt.cos(pt.arange(trace.size)).reshape(trace.shape)).sum()
            for trace in self.traces
        )
        self.variables = [*self.inputs, self.W, self.V]

    def step(self, x, y, h, c):
        # 2 V is the same at each step
        h = pt.tanh(pt.dot(x, self.W) + pt.dot(h, 2 * self.V)) * c[:, None]
        return [h, pt.sin(c + y) + h.mean(axis=1)]

    def in_numpy(self, values=None):
        x, y, h, c = self.values if values is None else values
        traces = []
        for t in range(len(x))[:: -1 if self.options.get("backwards") else 1]:
            h = np.tanh(x[t] @ self.W.get_value() + h @ (2 * self.V.get_value())) * c[:, None]
            c = np.sin(c + y[t]) + h.mean(axis=1)
            traces.append((h, c))
        return [np.stack(parts) for parts in zip(*traces, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("gradient_steps", [-1, 1, 3, T, 9])
def test_values(backwards, gradient_steps, mode):
    problem = Problem(backwards=backwards, gradient_steps=gradient_steps)
    values = evaluate(problem.inputs, problem.traces, problem.values, mode)
    for value, expected in zip(values, problem.in_numpy(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.slow
def test_one_function_for_all_lengths():
    problem = Problem()
    function = pytensor.function(problem.inputs, problem.traces, mode=MODES["jax"])
    for steps, batch in [(1, 1), (2, 5), (7, 2)]:
        values = [normal(steps, batch, F), normal(steps, batch), normal(batch, H), normal(batch)]
        for value, expected in zip(function(*values), problem.in_numpy(values), strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_by_jax_equal_those_by_pytensor(options):
    problem = Problem(**options)
    grads = pytensor.grad(problem.cost, problem.variables, disconnected_inputs="ignore")
    both = [evaluate(problem.inputs, grads, problem.values, mode) for mode in MODES.values()]
    for one, other in zip(*both, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)
    assert all(np.any(grad) for grad in both[0][:1])


@pytest.mark.slow
def test_gradients_equal_finite_differences():
    problem = Problem()
    grads = pytensor.grad(problem.cost, problem.inputs)
    function = pytensor.function(problem.inputs, [problem.cost, *grads], mode=MODES["jax"])
    grads = [np.asarray(grad) for grad in function(*problem.values)[1:]]
    for k, grad in enumerate(grads):
        direction = normal(*grad.shape, seed=9)
        costs = []
        for step in (1e-6, -1e-6):
            values = list(problem.values)
            values[k] = values[k] + step * direction
            costs.append(float(function(*values)[0]))
        np.testing.assert_allclose(
            (grad * direction).sum(), (costs[0] - costs[1]) / 2e-6, rtol=1e-6
        )


@pytest.mark.slow
def test_gradient_of_the_last_steps_only(mode):
    whole, cut = Problem(), Problem(gradient_steps=2)
    early = loop(whole.step, [whole.x[:-2], whole.y[:-2]], [whole.h, whole.c])
    start = [pytensor.gradient.disconnected_grad(trace[-1]) for trace in early]
    late = loop(whole.step, [whole.x[-2:], whole.y[-2:]], start)
    grads = []
    for (hidden, _), problem in ((late, whole), (cut.traces, cut)):
        cost = (hidden[-2:] ** 2).sum()
        wrt = [problem.x, problem.W, problem.V]
        grads.append(evaluate(problem.inputs, pytensor.grad(cost, wrt), problem.values, mode))
    for one, other in zip(*grads, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
    assert not grads[1][0][:-2].any()
    assert grads[1][0][-2:].any()


@pytest.mark.slow
def test_early_outputs_of_a_truncated_loop_have_no_gradient(mode):
    problem = Problem(gradient_steps=2)
    cost = (problem.traces[0][: T - 2] ** 2).sum()
    grads = pytensor.grad(cost, problem.variables, disconnected_inputs="ignore")
    for grad in evaluate(problem.inputs, grads, problem.values, mode, on_unused_input="ignore"):
        assert not grad.any()


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint_every", [1, 2])
def test_second_and_third_derivatives(mode, checkpoint_every):
    x, a = pt.vector("x"), pt.scalar("a")
    start = [pt.constant(np.float64(0.5))]
    (trace,) = loop(lambda x, s: [a * s * s + x], [x], start, checkpoint_every=checkpoint_every)
    derivatives = [trace[-1]]
    for _ in range(3):
        derivatives.append(pytensor.grad(derivatives[-1], a))
    values = evaluate([x, a], derivatives, [np.array([0.1, 0.2, 0.3]), 0.7], mode)

    polynomial, variable = np.polynomial.Polynomial([0.5]), np.polynomial.Polynomial([0, 1])
    for number in (0.1, 0.2, 0.3):
        polynomial = variable * polynomial**2 + number
    expected = [polynomial.deriv(k)(0.7) if k else polynomial(0.7) for k in range(4)]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.slow
def test_outputs_that_the_cost_does_not_depend_on(mode):
    problem = Problem()
    one_output = (problem.traces[1] ** 2).sum()
    grads = pytensor.grad(one_output, problem.variables)
    expected = pytensor.grad(one_output + 0 * problem.traces[0].sum(), problem.variables)
    values = evaluate(problem.inputs, [*grads, *expected], problem.values, mode)
    for one, other in zip(values[: len(grads)], values[len(grads) :], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_inputs_that_the_cost_does_not_depend_on(mode):
    x, unused = pt.vector("x"), pt.vector("unused")
    (trace,) = loop(lambda x, u, s: [s + x], [x, unused], [pt.constant(np.float64(0))])
    grads = pytensor.grad(trace.sum(), [x, unused], disconnected_inputs="ignore")
    values = evaluate([x, unused], grads, [np.ones(3), np.ones(3)], mode)
    np.testing.assert_array_equal(values[0], [3, 2, 1])
    np.testing.assert_array_equal(values[1], [0, 0, 0])


def test_integers_pass_through(mode):
    x, k = pt.vector("x"), pt.ivector("k")
    traces = loop(
        lambda x, k, s, n: [s * x + k, n + k], [x, k], [pt.constant(np.float64(1)), pt.iscalar("n")]
    )
    n = traces[1].owner.inputs[3]
    grad = pytensor.grad(traces[0].sum(), x)
    inputs = [x, k, n]
    values = [np.array([2.0, 3.0]), np.array([1, 2], "int32"), np.int32(4)]
    s, count, grad = evaluate(inputs, [*traces, grad], values, mode)
    np.testing.assert_allclose(s, [3, 11])
    np.testing.assert_array_equal(count, [5, 7])
    assert count.dtype == np.int32
    np.testing.assert_allclose(grad, [1 + 3, 3])


def test_float32_states_stay_float32(mode):
    x = pt.vector("x", dtype="float32")
    (trace,) = loop(lambda x, s: [s * np.float64(0.1) + x], [x], [pt.constant(np.float32(1))])
    (value,) = evaluate([x], [trace], [np.ones(2, "float32")], mode)
    assert trace.dtype == value.dtype == "float32"


# ---- What the step shares and carries


def test_what_does_not_change_is_computed_outside():
    problem = Problem()
    node = problem.traces[0].owner
    assert isinstance(node.op, Loop)
    ops = [str(inner.op) for inner in node.op.fgraph.apply_nodes]
    assert ops.count("Dot") == 2
    assert ops.count("Mul") == 1
    constants = node.op.split_inputs(node.inputs)[-1]
    assert problem.V not in constants
    assert any(constant.owner is not None for constant in constants)


def steps_with_products():
    """Steps in which weights are multiplied in ways that the gradient treats in ways of their own."""
    W, b, V = (
        pytensor.shared(normal(H, H, seed=21)),
        pytensor.shared(normal(H, seed=22)),
        pytensor.shared(normal(F, H, seed=23)),
    )

    def with_bias(x, h):
        return pt.tanh(pt.dot(h, W) + b + pt.dot(x, V))

    def shared_product(x, h):
        product = pt.dot(h, W)
        return pt.tanh(product * product + b)

    def weights_used_otherwise(x, h):
        return pt.tanh(pt.dot(h, W) + W.sum(axis=0) * b + pt.dot(x, V) * pt.exp(-(b**2)))

    def transposed(x, h):
        return pt.tanh(pt.dot(h, W.T) + pt.dot(h, W))

    def chain(x, h):
        return pt.tanh(pt.dot(pt.tanh(pt.dot(h, W) + b), W) + b)

    def bias_in_both(x, h):
        return pt.tanh((pt.dot(h, W) + b) * (pt.dot(x, V) + b))

    steps = [with_bias, shared_product, weights_used_otherwise, transposed, chain, bias_in_both]
    return [pytest.param(step, [W, b, V], id=step.__name__) for step in steps]


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint_every", [1, 2])
@pytest.mark.parametrize(("step", "weights"), steps_with_products())
def test_gradients_of_weights(step, weights, checkpoint_every):
    x, h = pt.tensor3("x"), pt.matrix("h")
    (trace,) = loop(lambda *a: [step(*a)], [x], [h], checkpoint_every=checkpoint_every)
    cost = (trace * pt.cos(pt.arange(trace.size)).reshape(trace.shape)).sum()
    grads = pytensor.grad(cost, [*weights, x, h], disconnected_inputs="ignore")
    values = [normal(T, B, F), normal(B, H, seed=4)]
    both = [evaluate([x, h], grads, values, mode) for mode in MODES.values()]
    for one, other in zip(*both, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)
    assert np.any(both[0][0])


def test_equal_loops_are_one():
    problem = Problem()
    again = loop(problem.step, [problem.x, problem.y], [problem.h, problem.c])
    op, other = problem.traces[0].owner.op, again[0].owner.op
    assert op == other
    assert hash(op) == hash(other)
    assert op is not other
    function = pytensor.function(problem.inputs, [*problem.traces, *again], mode=MODES["jax"])
    loops = [n for n in function.maker.fgraph.apply_nodes if isinstance(n.op, Loop)]
    assert len(loops) == 1

    backwards = loop(problem.step, [problem.x, problem.y], [problem.h, problem.c], backwards=True)
    assert backwards[0].owner.op != op
    different = loop(
        lambda *a: [v + 1 for v in problem.step(*a)], [problem.x, problem.y], [problem.h, problem.c]
    )
    assert different[0].owner.op != op
    assert LoopGradient(op, [0]) == LoopGradient(other, [0])
    assert hash(LoopGradient(op, [0])) == hash(LoopGradient(other, [0]))
    assert LoopGradient(op, [0]) != LoopGradient(op, [1])
    assert str(op) == "Loop{2 states}"
    assert str(LoopGradient(op, [0])) == "LoopGradient{Loop{2 states}}"


def test_loop_and_gradient_share_one_run_in_jax():
    problem = Problem()
    grads = pytensor.grad(problem.cost, problem.variables)
    function = pytensor.function(problem.inputs, [problem.cost, *grads], mode=MODES["jax"])
    ops = [type(node.op).__name__ for node in function.maker.fgraph.apply_nodes]
    assert ops.count("DifferentiatedLoop") == 1
    assert "Loop" not in ops
    assert "LoopGradient" not in ops


def test_loops_do_not_run_unexpanded():
    problem = Problem()
    op = problem.traces[0].owner.op
    for unexpanded in (op, LoopGradient(op, [0])):
        with pytest.raises(NotImplementedError, match="must be expanded"):
            unexpanded.perform(None, [], [])


def make_random_loop(draw, **options):
    x = pt.matrix("x")
    stream = RandomStream()
    traces = loop(lambda x, s: draw(stream, x, s), [x], [pt.zeros(6)], **options)
    return x, traces[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [
        lambda stream, x, s: [stream.normal((6,)) + 0 * x],
        lambda stream, x, s: [stream.normal((6,), avg=s) + 0 * x],
        lambda stream, x, s: [x * stream.binomial(x.shape) + stream.normal((6,))],
    ],
    ids=["beforehand", "from the state", "two generators"],
)
def test_random_numbers_are_new_at_each_step_and_call(draw, mode):
    x, trace = make_random_loop(draw)
    function = pytensor.function([x], trace, mode=mode)
    first, second = (np.asarray(function(np.ones((T, 6)))) for _ in range(2))
    rows = np.concatenate([first, second])
    assert len(np.unique(rows.round(12), axis=0)) == 2 * T


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_gradient_of_random_numbers_fits_the_values(options, mode):
    """A gradient uses the very mask that the value was computed with."""
    x, trace = make_random_loop(lambda stream, x, s: [x * stream.binomial(x.shape)], **options)
    grad = pytensor.grad(trace.sum(), x)
    value, grad = evaluate([x], [trace, grad], [np.ones((T, 6))], mode)
    if options.get("backwards"):
        value = value[::-1]
    kept = slice(T - 2, None) if "gradient_steps" in options else slice(None)
    np.testing.assert_array_equal(grad[kept], value[kept])
    assert 0 < value.mean() < 1


def test_shared_variable_with_a_default_update_goes_on_from_step_to_step(mode):
    count = pytensor.shared(np.float64(0), "count")
    update_by_default(count, count + 1)
    x = pt.vector("x")
    (trace,) = loop(lambda x, s: [x + count], [x], [pt.constant(np.float64(0))])
    function = pytensor.function([x], trace, mode=mode)
    np.testing.assert_array_equal(function(np.zeros(3)), [0, 1, 2])
    np.testing.assert_array_equal(function(np.zeros(2)), [3, 4])
    assert count.get_value() == 5
