"""The NTM layer against the reference in NumPy, finite differences, and its options."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import lasagne
from lasagne.backends.modes import get_mode
from lasagne.init import Constant
from lasagne.layers import (
    ConcatLayer,
    DenseLayer,
    DropoutLayer,
    ElemwiseSumLayer,
    InputLayer,
    LSTMLayer,
    ReshapeLayer,
    batch_norm,
    get_all_param_values,
    get_all_params,
    get_output,
    set_all_param_values,
)
from lasagne.nonlinearities import linear, rectify, sigmoid, softplus, tanh
from ntm import StepFunction
from ntm.controllers import (
    DenseController,
    GRUController,
    LSTMController,
    RecurrentController,
    StackController,
)
from ntm.heads.ntm import Head, ReadHead, WriteHead
from ntm.init import OneHot
from ntm.layers.ntm import NTMLayer
from ntm.memory import Memory
from ntm.nonlinearities import ClippedLinear, one_plus_softplus
from ntm.updates import graves_rmsprop

from .. import reference
from ..networks import (
    CONTROLLERS,
    MEMORY_SHAPE,
    ORIGINAL_GRU,
    SMOOTH,
    SMOOTH_WRITE,
    B,
    F,
    H,
    T,
    assert_gradients_equal_differences,
    data,
    make_ntm,
    randomize,
    to_jax,
    to_python,
    weighted_sum,
)

MASK = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
SIGN = {"W_hid_to_sign": Constant(0.1)}
SIGN_BOTH = {**SIGN, "W_hid_to_sign_add": Constant(0.1), "nonlinearity_sign_add": tanh}


def stack(build):
    """A controller class for `make_ntm` from a function from layer to layer."""

    def make(incoming, memory_shape, num_units, num_reads, name):
        return StackController(incoming, build, memory_shape, num_reads, name=name)

    return make


def two_dense(layer):
    return DenseLayer(DenseLayer(layer, 4, nonlinearity=tanh), H, nonlinearity=tanh)


def two_lstms(layer):
    return LSTMController(
        LSTMController(layer, num_units=4, nonlinearity=tanh), num_units=H, nonlinearity=tanh
    )


def gru_below_dense(layer):
    return DenseLayer(GRUController(layer, num_units=4), H, nonlinearity=tanh)


def with_shortcut(layer):
    below = RecurrentController(layer, num_units=4, nonlinearity=tanh)
    return ConcatLayer([below, ElemwiseSumLayer([DenseLayer(layer, 3), DenseLayer(below, 3)])])


STACKS = [two_dense, two_lstms, gru_below_dense, with_shortcut]


def assert_equals_reference(layer, mask=None, steps=T):
    """Outputs, traces and last state of a layer are those of the reference."""
    x_var, mask_var = pt.tensor3("x"), pt.matrix("mask")
    inputs = [x_var] if mask is None else [x_var, mask_var]
    below = inputs if layer.has_mask else x_var
    output, last = layer.get_output_for(below, return_state=True)
    details = layer.get_output_for(below, get_details=True)
    x = data(B, steps, F)
    values = to_jax(inputs, [output, *details, *last.flatten()])(*([x, mask][: len(inputs)]))
    traces, final = reference.run(layer, x, mask)
    expected = traces.hidden
    if layer.only_return_final:
        expected = expected[:, 0 if layer.backwards else -1]
    top = getattr(layer.controller, "top", layer.controller)
    state = traces.controller[1] if isinstance(top, LSTMController) else traces.hidden
    expected = [expected, traces.memory, traces.hidden, state]
    expected += [traces.write_weights, traces.read_weights, *final.flatten()]
    assert len(values) == len(expected)
    for value, wanted in zip(values, expected, strict=True):
        assert value.shape == wanted.shape
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("controller", [*CONTROLLERS, ORIGINAL_GRU, *map(stack, STACKS)])
def test_controllers_equal_the_reference(controller):
    assert_equals_reference(make_ntm(controller))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("writes", "reads"),
    [
        ([{}, {"num_shifts": 2}], [{"num_shifts": 6, "shift_mode": "circular"}]),
        ([{"shift_mode": "circular"}], [{}, {"num_shifts": 1}, {"shift_mode": "circular"}]),
        ([{"num_shifts": 5}] * 3, [{"num_shifts": 4, "shift_mode": "circular"}] * 2),
        ([], [{}, {}]),
        ([{}, {}], []),
        ([SIGN_BOTH, {}], [SIGN, {}]),
        ([{}, SIGN], [SIGN, SIGN]),
        (
            [SMOOTH_WRITE, {}, {"nonlinearity_erase": sigmoid, "nonlinearity_add": tanh}],
            [SMOOTH, {"nonlinearity_key": linear, "nonlinearity_beta": softplus}],
        ),
        ([{"b_hid_to_key": None, "b_hid_to_add": None}], [{"b_hid_to_shift": None}]),
        ([], [{"nonlinearity_gamma": one_plus_softplus, "nonlinearity_key": ClippedLinear(-1, 2)}]),
    ],
)
def test_heads_equal_the_reference(writes, reads):
    assert_equals_reference(make_ntm(RecurrentController, writes, reads))


@pytest.mark.slow
def test_order_of_the_heads_is_free():
    l_in = InputLayer((None, None, F))
    controller = DenseController(l_in, MEMORY_SHAPE, H, 2)
    kinds = [(ReadHead, "a"), (WriteHead, "b"), (ReadHead, "c"), (WriteHead, "d")]
    heads = [kind(controller, memory_shape=MEMORY_SHAPE, name=name) for kind, name in kinds]
    layer = NTMLayer(l_in, Memory(MEMORY_SHAPE), controller, heads)
    randomize(layer)
    assert_equals_reference(layer)
    names = [param.name for param in layer.get_params() if param.name.endswith("key.W")]
    assert names == ["a.key.W", "b.key.W", "c.key.W", "d.key.W"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"backwards": True},
        {"only_return_final": True},
        {"only_return_final": True, "backwards": True, "masked": True},
        {"masked": True},
        {"masked": True, "controller": stack(two_lstms)},
        {"masked": True, "controller": ORIGINAL_GRU},
        {"precompute_input": False},
        {"precompute_input": False, "masked": True, "controller": GRUController},
        {"gradient_steps": 2},
        {"gradient_steps": 2, "backwards": True, "masked": True},
        {"gradient_steps": 9, "grad_clipping": 1.0},
    ],
)
def test_options_equal_the_reference(options):
    options = dict(options)
    mask = MASK if options.pop("masked", False) else None
    if mask is not None:
        options["mask_input"] = InputLayer((None, None))
    options.setdefault("controller", LSTMController)
    assert_equals_reference(make_ntm(**options), mask)


@pytest.mark.slow
@pytest.mark.parametrize("backwards", [False, True])
def test_unrolled_steps_equal_the_reference(backwards):
    layer = make_ntm(
        incoming=InputLayer((None, 2, F)),
        mask_input=InputLayer((None, 2)),
        unroll_scan=True,
        backwards=backwards,
    )
    assert_equals_reference(layer, MASK[:, :2], steps=2)


@pytest.mark.slow
@pytest.mark.parametrize("compile", [to_python, to_jax])
def test_unrolled_steps_of_another_length(compile):
    layer = make_ntm(
        incoming=InputLayer((None, 2, F)),
        mask_input=InputLayer((None, None)),
        unroll_scan=True,
        name="my ntm",
    )
    x, mask = pt.tensor3("x"), pt.matrix("mask")
    function = compile([x, mask], layer.get_output_for([x, mask]))
    message = "NTMLayer 'my ntm': .* the 2 time steps .* the {} has another length: {}"
    for length in (0, 1, 3):
        for name, given in (("sequence", length), ("mask", 2)):
            with pytest.raises(ValueError, match=message.format(name, length)):
                function(data(B, given, F), np.ones((B, length)))


@pytest.mark.slow
def test_known_batch_and_length_give_the_same():
    layer = make_ntm(incoming=InputLayer((B, T, F)), controller=GRUController)
    assert layer.output_shape == (B, T, H)
    assert_equals_reference(layer)


@pytest.mark.slow
def test_reference_in_python():
    layer = make_ntm(LSTMController, mask_input=InputLayer((None, None)))
    x, mask = pt.tensor3("x"), pt.matrix("mask")
    function = to_python([x, mask], layer.get_output_for([x, mask]))
    traces, _ = reference.run(layer, data(B, T, F), MASK)
    np.testing.assert_allclose(function(data(B, T, F), MASK), traces.hidden, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_lengths_and_batches_of_one_function():
    layer = make_ntm(GRUController)
    x = pt.tensor3("x")
    function = to_jax([x], layer.get_output_for(x))
    for shape in [(1, 1), (2, 3), (4, 2)]:
        values = data(*shape, F)
        expected = reference.run(layer, values)[0].hidden
        np.testing.assert_allclose(function(values), expected, rtol=0, atol=1e-10)


# ---- Gradients


@pytest.mark.slow
@pytest.mark.parametrize(
    "controller",
    [
        *(partial(c, nonlinearity=tanh) for c in CONTROLLERS),
        ORIGINAL_GRU,
        stack(two_dense),
        stack(two_lstms),
    ],
)
def test_gradients_equal_finite_differences(controller):
    layer = make_ntm(
        controller,
        [{**SMOOTH_WRITE, **SIGN_BOTH}],
        [{**SMOOTH, "num_shifts": 4, "shift_mode": "circular"}],
        mask_input=InputLayer((None, None)),
    )
    x, mask = pt.tensor3("x"), pt.matrix("mask")
    cost = weighted_sum(layer.get_output_for([x, mask]))
    values = [data(B, T, F), MASK]
    assert_gradients_equal_differences([x, mask], values, cost, get_all_params(layer))


def gradients_of(layer, cost):
    return pytensor.grad(cost, get_all_params(layer), disconnected_inputs="ignore")


def assert_all_close(values, expected):
    assert len(values) == len(expected)
    for value, wanted in zip(values, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("backwards", [False, True])
def test_gradient_steps_cut_the_gradient(backwards):
    x = pt.tensor3("x")
    layer = make_ntm(LSTMController, gradient_steps=1, backwards=backwards)
    whole = make_ntm(LSTMController, backwards=backwards)
    early, late = (x[:, 1:], x[:, :1]) if backwards else (x[:, :-1], x[:, -1:])
    first, state = whole.get_output_for(early, return_state=True)
    state = state.map(pytensor.gradient.disconnected_grad)
    second = whole.get_output_for(late, state=state)
    first = pytensor.gradient.disconnected_grad(first)
    parts = [second, first] if backwards else [first, second]
    truncated = weighted_sum(layer.get_output_for(x))
    expected = weighted_sum(pt.concatenate(parts, axis=1))
    values = to_jax(
        [x],
        [
            *(truncated, pytensor.grad(truncated, x), *gradients_of(layer, truncated)),
            *(expected, pytensor.grad(expected, x), *gradients_of(whole, expected)),
        ],
    )(data(B, T, F))
    assert_all_close(values[: len(values) // 2], values[len(values) // 2 :])
    grad = values[1]
    assert np.all(grad[:, 1:] == 0) if backwards else np.all(grad[:, :-1] == 0)
    assert np.any(grad)


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint_every", [2, T, T + 1])
def test_keeping_fewer_states_changes_nothing(checkpoint_every):
    x, mask = pt.tensor3("x"), pt.matrix("mask")
    results = []
    for options in ({}, {"checkpoint_every": checkpoint_every}):
        layers = [InputLayer((None, None, F)), InputLayer((None, None))]
        layer = make_ntm(LSTMController, incoming=layers[0], mask_input=layers[1], **options)
        cost = weighted_sum(layer.get_output_for([x, mask]))
        outputs = [cost, pytensor.grad(cost, x), *gradients_of(layer, cost)]
        masks = np.ones((B, T))
        masks[0, 2:] = 0
        results.append(to_jax([x, mask], outputs)(data(B, T, F), masks))
    assert_all_close(*results)


@pytest.mark.slow
def test_gradient_steps_beyond_the_length_change_nothing():
    x = pt.tensor3("x")
    grads = []
    for gradient_steps in (-1, T + 5):
        layer = make_ntm(reads=[], gradient_steps=gradient_steps)
        grads += gradients_of(layer, weighted_sum(layer.get_output_for(x)))
    values = to_jax([x], grads)(data(B, T, F))
    assert_all_close(values[: len(values) // 2], values[len(values) // 2 :])


@pytest.mark.slow
def test_grad_clipping_clips_between_steps():
    bound = 0.003
    x = pt.tensor3("x")
    layer = make_ntm(LSTMController, reads=[], grad_clipping=bound)
    state = layer.make_state_variables()
    cost = weighted_sum(layer.get_output_for(x, state=state))
    by_hand, hidden = state, []
    for t in range(2):
        by_hand = by_hand.map(lambda part: lasagne.utils.clip_gradient(part, bound))
        by_hand = layer.step(x[:, t], by_hand)
        hidden.append(by_hand.hidden)
    expected = weighted_sum(pt.stack(hidden, axis=1))
    start = reference.run(layer, data(B, 1, F))[1].flatten()
    costs = (cost, expected)
    variables = [*state.flatten(), *get_all_params(layer)]
    grads = [pytensor.grad(c, variables, disconnected_inputs="ignore") for c in costs]
    values = to_jax([x, *state.flatten()], grads[0] + grads[1])(data(B, 2, F), *start)
    clipped = values[: len(grads[0])]
    assert_all_close(clipped, values[len(grads[0]) :])
    states_grads = clipped[: len(start)]
    assert all(np.all(np.abs(grad) <= bound) for grad in states_grads)
    assert any(np.any(np.abs(grad) == bound) for grad in states_grads)


# ---- Options


def test_initial_values_are_trained_on_request():
    def names(learn_init):
        l_in = InputLayer((None, None, F))
        controller = LSTMController(l_in, MEMORY_SHAPE, H, 1, learn_init=learn_init, name="lstm")
        heads = [
            WriteHead(controller, memory_shape=MEMORY_SHAPE, learn_init=learn_init, name="write"),
            ReadHead(controller, memory_shape=MEMORY_SHAPE, learn_init=learn_init, name="read"),
        ]
        memory = Memory(MEMORY_SHAPE, learn_init=learn_init, name="memory")
        layer = NTMLayer(l_in, memory, controller, heads)
        assert not any("init" in p.name for p in get_all_params(layer, regularizable=True))
        return {p.name for p in get_all_params(layer, trainable=True) if "init" in p.name}

    assert names(False) == set()
    assert names(True) == {
        "lstm.hid_init",
        "lstm.cell_init",
        "memory.memory_init",
        "write.weights_init",
        "read.weights_init",
    }


def test_default_initial_values():
    layer = make_ntm()
    trainable = {p.name for p in get_all_params(layer, trainable=True) if "init" in p.name}
    assert trainable == {"memory.memory_init"}


def test_order_of_parameters():
    names = [p.name for p in make_ntm().get_params()]
    parts = ["key.W", "key.b", "beta.W", "beta.b", "gate.W", "gate.b", "shift.W", "shift.b"]
    parts += ["gamma.W", "gamma.b"]
    assert names == [
        "controller.hid_init",
        "controller.W_in_to_hid",
        "controller.b_in_to_hid",
        "controller.W_reads_to_hid",
        "controller.b_reads_to_hid",
        "memory.memory_init",
        "write0.weights_init",
        *(f"write0.{part}" for part in [*parts, "erase.W", "erase.b", "add.W", "add.b"]),
        "read0.weights_init",
        *(f"read0.{part}" for part in parts),
    ]


def test_output_shapes():
    assert make_ntm().output_shape == (None, None, H)
    assert make_ntm(only_return_final=True).output_shape == (None, H)
    layer = make_ntm(incoming=InputLayer((B, T, F)))
    assert layer.output_shape == (B, T, H)
    assert layer.get_output_shape_for((7, 8, F)) == (7, 8, H)
    assert layer.get_output_shape_for([(7, 8, F), (7, 8)]) == (7, 8, H)


@pytest.mark.slow
def test_short_notation():
    """A shape as memory, a function as controller, classes as heads."""
    l_in = InputLayer((None, None, F))
    layer = NTMLayer(
        l_in,
        memory=MEMORY_SHAPE,
        controller=two_dense,
        heads=[partial(WriteHead, num_shifts=2, name="write"), ReadHead],
    )
    randomize(layer)
    assert isinstance(layer.controller, StackController)
    assert layer.heads[0].num_shifts == 2
    assert_equals_reference(layer)


@pytest.mark.slow
@pytest.mark.parametrize("controller", [LSTMController, stack(two_dense)])
def test_float32_stays_float32(controller):
    with pytensor.config.change_flags(floatX="float32"):
        layer = make_ntm(controller, [SIGN_BOTH], mask_input=InputLayer((None, None)))
        x, mask = pt.tensor3("x"), pt.matrix("mask")
        details, last = layer.get_output_for([x, mask], get_details=True, return_state=True)
        cost = weighted_sum(details[1])
        grads = gradients_of(layer, cost)
        outputs = [*details, *last.flatten(), *grads]
        assert {output.dtype for output in outputs} == {"float32"}
        values = to_jax([x, mask], outputs)(data(B, T, F), MASK.astype("float32"))
    assert {value.dtype for value in values} == {np.dtype("float32")}
    with pytensor.config.change_flags(floatX="float64"):
        traces, _ = reference.run(layer, data(B, T, F).astype("float32"), MASK)
    np.testing.assert_allclose(values[1], traces.hidden, atol=1e-5)


def test_arrays_of_float64_do_not_spread():
    with pytensor.config.change_flags(floatX="float32"):
        layer = make_ntm(
            writes=[{"b_hid_to_shift": np.array([0.0, -1.0, 0.0])}],
            reads=[{"weights_init": np.eye(1, MEMORY_SHAPE[0])}],
            controller_options={"hid_init": np.zeros((1, H))},
        )
        output = layer.get_output_for(pt.tensor3("x"), get_details=True)
    assert {part.dtype for part in output} == {"float32"}


@pytest.mark.slow
def test_input_of_integers():
    layer = make_ntm()
    x = pt.tensor3("x", dtype="int64")
    values = np.random.default_rng(0).integers(0, 2, (B, T, F))
    expected = reference.run(layer, values.astype(float))[0].hidden
    output = to_jax([x], layer.get_output_for(x))(values)
    np.testing.assert_allclose(output, expected, atol=1e-10)


# ---- In networks


@pytest.mark.slow
def test_layers_below_above_and_beside():
    x = pt.tensor3("x")
    l_in = InputLayer((None, None, F), input_var=x)
    l_dense = DenseLayer(l_in, 3, num_leading_axes=2, nonlinearity=tanh)
    l_lstm = LSTMLayer(l_dense, 4)
    l_merged = ConcatLayer([l_dense, l_lstm], axis=2)
    l_one = make_ntm(GRUController, incoming=l_merged, seed=1, name="one")
    l_two = make_ntm(DenseController, incoming=l_one, seed=2, name="two")
    l_sum = ElemwiseSumLayer([l_one, l_two])
    l_top = LSTMLayer(l_sum, 3, only_return_final=True)
    cost = get_output(l_top).sum()
    outputs = [get_output(layer) for layer in (l_merged, l_one, l_two, l_sum, l_top)]
    params = get_all_params(l_top, trainable=True)
    function = to_jax([x], outputs + pytensor.grad(cost, params))
    merged, one, two, total, top, *grads = function(data(B, T, F))
    np.testing.assert_allclose(one, reference.run(l_one, merged)[0].hidden, atol=1e-10)
    np.testing.assert_allclose(two, reference.run(l_two, one)[0].hidden, atol=1e-10)
    np.testing.assert_allclose(total, one + two, atol=1e-12)
    assert top.shape == (B, 3)
    assert all(np.all(np.isfinite(grad)) for grad in grads)
    of_one = [grad for p, grad in zip(params, grads, strict=True) if p in l_one.get_params()]
    assert sum(np.any(grad) for grad in of_one) > 10


@pytest.mark.slow
def test_two_layers_with_shared_weights():
    x = pt.tensor3("x")
    l_in = InputLayer((None, None, F), input_var=x)
    one = make_ntm(incoming=l_in, name="one")
    shared = {
        name: getattr(one.controller, name)
        for name in ("hid_init", "W_in_to_hid", "b_in_to_hid", "W_reads_to_hid", "b_reads_to_hid")
    }
    two = make_ntm(incoming=l_in, name="two", controller_options=shared, seed=3)
    merged = ConcatLayer([one, two], axis=2)
    assert len(get_all_params(merged)) == len(get_all_params(one)) + len(get_all_params(two)) - 5
    costs = [weighted_sum(get_output(layer)) for layer in (one, two)]
    W = one.controller.W_in_to_hid
    grads = [pytensor.grad(cost, W) for cost in (*costs, sum(costs))]
    first, second, both = to_jax([x], grads)(data(B, T, F))
    np.testing.assert_allclose(both, first + second, rtol=1e-10)
    assert np.any(first)
    assert np.any(second)


@pytest.mark.slow
def test_head_weights_shared_between_heads():
    options = {"W_hid_to_key": pytensor.shared(data(H, MEMORY_SHAPE[1]), "key")}
    layer = make_ntm(writes=[options], reads=[options, {}])
    assert sum(param is options["W_hid_to_key"] for param in layer.get_params()) == 1
    assert_equals_reference(layer)


@pytest.mark.slow
def test_parameter_values_survive_a_round_trip():
    layer = make_ntm(LSTMController, seed=4)
    other = make_ntm(LSTMController, seed=5)
    set_all_param_values(other, get_all_param_values(layer))
    x = pt.tensor3("x")
    one, two = to_jax([x], [layer.get_output_for(x), other.get_output_for(x)])(data(B, T, F))
    np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_dropout_in_a_stack_controller():
    def build(layer):
        return DenseLayer(DropoutLayer(layer, p=0.5), H, nonlinearity=tanh)

    layer = make_ntm(stack(build))
    x = pt.tensor3("x")
    dropped, kept = layer.get_output_for(x), layer.get_output_for(x, deterministic=True)
    grads = gradients_of(layer, weighted_sum(dropped))
    function = to_jax([x], [dropped, kept, *grads])
    first, second = function(data(B, T, F)), function(data(B, T, F))
    assert not np.allclose(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.allclose(first[0], first[1])
    assert all(np.all(np.isfinite(grad)) for grad in first[2:])


@pytest.mark.slow
def test_batch_normalization_in_a_stack_controller():
    l_in = InputLayer((B, None, F))
    norm = []

    def build(layer):
        norm.append(batch_norm(DenseLayer(layer, H, nonlinearity=tanh)))
        return norm[0]

    layer = NTMLayer(l_in, MEMORY_SHAPE, build, [WriteHead, ReadHead])
    mean = next(p for p in get_all_params(layer) if p.name.endswith("mean"))
    x = pt.tensor3("x")
    function = to_jax([x], layer.get_output_for(x))
    fixed = to_jax([x], layer.get_output_for(x, deterministic=True))
    means = []
    for steps in (1, 2):
        mean.set_value(np.zeros(H))
        function(np.ones((B, steps, F)))
        means.append(np.asarray(mean.get_value()))
    assert np.any(means[0])
    assert not np.allclose(means[0], means[1])
    before = np.asarray(mean.get_value())
    outputs = [fixed(data(B, T, F)) for _ in range(2)]
    np.testing.assert_array_equal(*outputs)
    np.testing.assert_array_equal(np.asarray(mean.get_value()), before)


@pytest.mark.slow
def test_script_of_ntm_lasagne():
    """The example of ntm-lasagne 0.3, its `import theano` lines changed."""
    batch_size, size = 2, 3
    input_var, target_var = pt.tensor3("input"), pt.tensor3("target")
    l_input = InputLayer((batch_size, None, size + 1), input_var=input_var)
    _, seqlen, _ = l_input.input_var.shape
    memory = Memory((16, 5), memory_init=Constant(1e-6), learn_init=False, name="memory")
    controller = DenseController(
        l_input,
        memory_shape=(16, 5),
        num_units=10,
        num_reads=1,
        nonlinearity=rectify,
        name="controller",
    )
    options = {
        "num_shifts": 3,
        "memory_shape": (16, 5),
        "nonlinearity_key": rectify,
        "learn_init": False,
        "weights_init": OneHot(),
    }
    heads = [
        WriteHead(controller, nonlinearity_add=rectify, name="write", **options),
        ReadHead(controller, name="read", **options),
    ]
    l_ntm = NTMLayer(l_input, memory=memory, controller=controller, heads=heads)
    l_output_reshape = ReshapeLayer(l_ntm, (-1, 10))
    l_output_dense = DenseLayer(
        l_output_reshape, num_units=size + 1, nonlinearity=sigmoid, name="dense"
    )
    l_output = ReshapeLayer(l_output_dense, (batch_size, seqlen, size + 1))

    pred = pt.clip(get_output(l_output), 1e-6, 1.0 - 1e-6)
    loss = pt.mean(lasagne.objectives.binary_crossentropy(pred, target_var))
    params = get_all_params(l_output, trainable=True)
    updates = graves_rmsprop(loss, params, learning_rate=1e-2)
    train = to_jax([input_var, target_var], loss, updates=updates)
    rng = np.random.default_rng(0)
    sequence = rng.integers(0, 2, (batch_size, 5, size + 1)).astype(float)
    losses = [train(sequence, sequence) for _ in range(30)]
    assert losses[-1] < losses[0] - 0.1


# ---- Errors


def build_with(input_shape=(None, None, F), num_reads=1, memory=MEMORY_SHAPE, head=(), **options):
    """A named layer of one write and one read head, some of its parts given wrongly."""
    l_in = InputLayer(input_shape)
    good = InputLayer((None, None, F))
    controller = options.pop("controller", None) or DenseController(
        good, MEMORY_SHAPE, H, num_reads, name="dense"
    )
    head = {"memory_shape": MEMORY_SHAPE, "name": "read", **dict(head)}
    heads = options.pop("heads", None)
    if heads is None:
        heads = [
            WriteHead(controller, memory_shape=MEMORY_SHAPE, name="write"),
            ReadHead(controller, **head),
        ]
    return NTMLayer(l_in, memory, controller, heads, name="my ntm", **options)


ERRORS = {
    "memory shapes": (
        {"head": {"memory_shape": (9, 3)}},
        ValueError,
        ["NTMLayer 'my ntm'", "ReadHead 'read'", "(9, 3)", "(6, 3)"],
    ),
    "memory shape of the controller": (
        {"memory": (6, 4)},
        ValueError,
        ["NTMLayer 'my ntm'", "(6, 3)", "(6, 4)"],
    ),
    "number of reads": (
        {"num_reads": 2},
        ValueError,
        ["NTMLayer 'my ntm'", "DenseController 'dense'", "num_reads=2", "1 read head"],
    ),
    "no heads": ({"heads": []}, ValueError, ["NTMLayer 'my ntm'", "at least one head"]),
    "heads that are none": ({"heads": ["read"]}, TypeError, ["NTMLayer 'my ntm'", "'read'"]),
    "heads that are no list": ({"heads": 3}, TypeError, ["NTMLayer 'my ntm'", "3"]),
    "controller that is none": (
        {"controller": "dense", "heads": [WriteHead]},
        TypeError,
        ["NTMLayer 'my ntm'", "'dense'", "Controller"],
    ),
    "instances with a function": (
        {"controller": two_dense, "heads": [InputLayer]},
        TypeError,
        ["NTMLayer 'my ntm'", "InputLayer"],
    ),
    "too many shifts": (
        {"head": {"num_shifts": 7}},
        ValueError,
        ["ReadHead 'read'", "7 shifts", "6 slots"],
    ),
    "no shifts": ({"head": {"num_shifts": 0}}, ValueError, ["ReadHead 'read'", "num_shifts", "0"]),
    "half a shift": ({"head": {"num_shifts": 1.5}}, ValueError, ["ReadHead 'read'", "1.5"]),
    "shift mode": (
        {"head": {"shift_mode": "round"}},
        ValueError,
        ["ReadHead 'read'", "'round'", "circular", "zero-padded"],
    ),
    "weights_init": (
        {"head": {"weights_init": np.ones((1, 5))}},
        ValueError,
        ["(1, 5)", "(1, 6)", "weights_init"],
    ),
    "input of two axes": (
        {"input_shape": (None, F)},
        ValueError,
        ["NTMLayer 'my ntm'", "(batch, time, features)", "(None, 2)"],
    ),
    "input of unknown features": (
        {"input_shape": (None, None, None)},
        ValueError,
        ["NTMLayer 'my ntm'", "features"],
    ),
    "number of features": (
        {"input_shape": (None, None, 4)},
        ValueError,
        ["NTMLayer 'my ntm'", "DenseController 'dense'", "2", "4"],
    ),
    "axes of the mask": (
        {"mask_input": (None, None, 1)},
        ValueError,
        ["NTMLayer 'my ntm'", "mask", "(None, None, 1)", "(batch, time)"],
    ),
    "length of the mask": (
        {"mask_input": (3, 5), "input_shape": (3, 4, F)},
        ValueError,
        ["NTMLayer 'my ntm'", "mask", "(3, 5)", "(3, 4)"],
    ),
    "unroll_scan": ({"unroll_scan": True}, ValueError, ["NTMLayer 'my ntm'", "time", "known"]),
    "unroll_scan and gradient_steps": (
        {"unroll_scan": True, "gradient_steps": 2, "input_shape": (None, 3, F)},
        ValueError,
        ["NTMLayer 'my ntm'", "gradient_steps"],
    ),
    "gradient_steps": ({"gradient_steps": 0}, ValueError, ["NTMLayer 'my ntm'", "0"]),
    "checkpoint_every": (
        {"checkpoint_every": 0},
        ValueError,
        ["NTMLayer 'my ntm'", "checkpoint_every", "0"],
    ),
    "grad_clipping": ({"grad_clipping": -1}, ValueError, ["NTMLayer 'my ntm'", "-1"]),
    "grad_clipping that is none": (
        {"grad_clipping": "1"},
        ValueError,
        ["NTMLayer 'my ntm'", "grad_clipping must be a number", "'1'"],
    ),
    "memory of half a slot": ({"memory": (6.5, 3)}, ValueError, ["memory_shape", "(6.5, 3)"]),
    "option of the layer": ({"only_return_last": True}, TypeError, ["only_return_last"]),
    "option of a head": ({"head": {"num_shift": 3}}, TypeError, ["num_shift"]),
    "memory": ({"memory": (6,)}, ValueError, ["Memory", "(6,)", "memory_shape"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_where_what_and_why(case):
    arguments, error, parts = ERRORS[case]
    with pytest.raises(error) as caught:
        build_with(**arguments)
    for part in parts:
        assert part in str(caught.value)


def test_heads_of_another_controller():
    other = DenseController(InputLayer((None, None, F)), MEMORY_SHAPE, H + 1, 1)
    with pytest.raises(ValueError, match=r"ReadHead 'x'.*\(None, 6\).*\(None, 5\)"):
        build_with(heads=[ReadHead(other, memory_shape=MEMORY_SHAPE, name="x")])


def test_bare_head_is_refused():
    controller = DenseController(InputLayer((None, None, F)), MEMORY_SHAPE, H, 1)
    with pytest.raises(TypeError, match="must be ReadHead or WriteHead"):
        build_with(controller=controller, heads=[Head(controller, memory_shape=MEMORY_SHAPE)])


def test_controller_on_a_controller_is_refused():
    l_in = InputLayer((None, None, F))
    below = LSTMController(l_in, num_units=H)
    above = LSTMController(below, num_units=H, name="above")
    with pytest.raises(ValueError, match="'above' stands on another controller"):
        NTMLayer(l_in, MEMORY_SHAPE, above, [WriteHead(above, memory_shape=MEMORY_SHAPE)])


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(None, None, 2, 3), (B, T, 2, 3)])
@pytest.mark.parametrize("controller", [LSTMController, stack(two_lstms)])
def test_input_of_four_axes(shape, controller):
    """The last axes make up the features."""
    layer = make_ntm(controller, incoming=InputLayer(shape))
    flat = make_ntm(controller, incoming=InputLayer((None, None, 6)))
    assert layer.output_shape == (*shape[:2], H)
    x, y = pt.tensor4("x"), pt.tensor3("y")
    values = data(B, T, 2, 3)
    output, expected = to_jax([x, y], [layer.get_output_for(x), flat.get_output_for(y)])(
        values, values.reshape(B, T, 6)
    )
    np.testing.assert_array_equal(output, expected)
    step = StepFunction(layer, batch_size=B, mode=get_mode("jax"))
    outputs = [step(values[:, t]) for t in range(T)]
    np.testing.assert_allclose(np.stack(outputs, axis=1), expected, rtol=0, atol=1e-12)
    state = layer.get_initial_state(B)
    hidden = to_python([], layer.step(values[:, 0], state).hidden)()
    np.testing.assert_allclose(hidden, expected[:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("ndim", [2, 4])
def test_input_of_other_axes(ndim):
    with pytest.raises(ValueError, match=f"'my ntm'.*3 axes .*, not {ndim}"):
        build_with().get_output_for(pt.tensor(shape=(None,) * ndim))


def test_number_of_inputs():
    x, mask = pt.tensor3("x"), pt.matrix("mask")
    with pytest.raises(ValueError, match="1 inputs are needed, not 2"):
        build_with().get_output_for([x, mask])
    with pytest.raises(ValueError, match="2 inputs are needed, not 1"):
        build_with(mask_input=(None, None)).get_output_for(x)


@pytest.mark.slow
def test_state_trace_of_a_stack_is_the_output_unless_its_top_has_a_cell():
    x = pt.tensor3()
    for build, width in (
        (lambda l: RecurrentController(RecurrentController(l, num_units=5), num_units=7), 7),
        (lambda l: DenseLayer(LSTMController(l, num_units=5), 7), 7),
    ):
        l_ntm = NTMLayer(InputLayer((2, 4, 3), x), (6, 4), build, [WriteHead, ReadHead])
        details = get_output(l_ntm, get_details=True)
        hidden, state = pytensor.function([x], details[1:3])(np.ones((2, 4, 3)))
        assert state.shape == (2, 4, width)
        np.testing.assert_array_equal(hidden, state)
    l_ntm = NTMLayer(
        InputLayer((2, 4, 3), x),
        (6, 4),
        lambda l: LSTMController(RecurrentController(l, num_units=5), num_units=7),
        [WriteHead, ReadHead],
    )
    details = get_output(l_ntm, get_details=True)
    hidden, state = pytensor.function([x], details[1:3])(np.ones((2, 4, 3)))
    assert state.shape == (2, 4, 7)
    assert not np.allclose(hidden, state)


def test_unknown_options_name_the_layer_and_what_was_meant():
    l_in = InputLayer((2, 4, 3))
    with pytest.raises(TypeError, match=r"NTMLayer 'n': unknown option 'backward'.*'backwards'"):
        NTMLayer(l_in, (6, 4), lambda l: l, [ReadHead], backward=True, name="n")
    with pytest.raises(TypeError, match=r"LSTMController: unknown option 'num_unit'.*'num_units'"):
        LSTMController(l_in, (6, 4), 5, 1, num_unit=5)
    with pytest.raises(TypeError, match="Memory: unknown option 'shape'"):
        Memory((6, 4), shape=1)


def test_a_memory_shape_in_a_partial_is_checked():
    heads = [WriteHead, partial(ReadHead, memory_shape=(9, 9), name="read")]
    with pytest.raises(ValueError, match=r"ReadHead 'read' .*\(9, 9\).*\(6, 4\)"):
        NTMLayer(InputLayer((2, 4, 3)), (6, 4), lambda l: DenseLayer(l, 5), heads)


def test_a_given_state_must_fit():
    def build(controller):
        return NTMLayer(
            InputLayer((2, 4, 3)), (6, 4), controller, [WriteHead, ReadHead], name="ntm"
        )

    dense = build(lambda l: DenseLayer(l, 5))
    lstm = build(lambda l: LSTMController(l, num_units=5))
    x = pt.tensor3()
    with pytest.raises(ValueError, match=r"'ntm': the controller has 1 states, .* has 2"):
        dense.get_output_for(x, state=lstm.get_initial_state(2))
    state = dense.get_initial_state(2)._replace(memory=pt.zeros((2, 7, 4)))
    with pytest.raises(
        ValueError, match=r"state.memory must be of shape .*6, 4\), not \(2, 7, 4\)"
    ):
        dense.get_output_for(x, state=state)


def test_keywords_of_layers_in_the_stack_are_known():
    l_ntm = NTMLayer(
        InputLayer((2, 4, 3)),
        (6, 4),
        lambda l: batch_norm(DenseLayer(l, 5)),
        [WriteHead, ReadHead],
    )
    # A keyword that no layer takes warns, and a warning is an error here
    get_output(l_ntm, pt.tensor3(), batch_norm_use_averages=True)
