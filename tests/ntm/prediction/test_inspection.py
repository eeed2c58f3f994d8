"""What look_inside shows, against the plain NumPy versions of the memories."""

from functools import partial

import numpy as np
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.layers import ConcatLayer, DenseLayer, EmbeddingLayer, InputLayer, get_all_params
from ntm import (
    DNCLayer,
    LSTMController,
    NTMLayer,
    ReadHead,
    SAMLayer,
    SharedMemoryLayer,
    WriteHead,
    look_inside,
)
from ntm.prediction import Inspector

from .. import dnc_reference, reference, sam_reference, sdnc_reference, shared_reference
from ..networks import F, data, make_dnc, make_ntm, make_sam, make_sdnc, randomize

JAX = get_mode("jax")
T = 5
MASK = np.array([1, 1, 0, 1, 1])


def assert_close(value, expected, what=None, atol=1e-10):
    value, expected = np.asarray(value), np.asarray(expected)
    assert value.shape == expected.shape, what
    np.testing.assert_allclose(value, expected, rtol=0, atol=atol, err_msg=str(what))


def assert_parameters(trace, heads, hidden):
    """Each head told the memory what its own layers make of the controller's output at each step."""
    names = {
        "key": "key",
        "key strength": "beta",
        "gate": "gate",
        "shift": "shift",
        "sharpness": "gamma",
        "erase": "erase",
        "add": "add",
        "allocation gate": "allocation_gate",
        "write gate": "write_gate",
        "interpolation gate": "interpolation_gate",
        "free gate": "free_gate",
        "read modes": "modes",
    }
    vectors = ("key", "shift", "erase", "add", "read modes")
    for shown, head in zip(trace.heads, heads, strict=True):
        expected = {name for name, part in names.items() if hasattr(head, part)}
        assert set(shown.parameters) == expected
        for name, value in shown.parameters.items():
            wanted = np.array([reference.dense(getattr(head, names[name]), h) for h in hidden])
            for vector, sign in (("key", "sign"), ("add", "sign_add")):
                if name == vector and getattr(head, sign, None) is not None:
                    wanted *= [reference.dense(getattr(head, sign), h) for h in hidden]
            assert_close(value, wanted if name in vectors else wanted[:, 0], (shown.name, name))


def assert_differ(arrays):
    """So that a test fails where one is shown for another, upside down, or a step too late."""
    arrays = [np.asarray(each) for each in arrays]
    for k, one in enumerate(arrays):
        assert not np.allclose(one, one[:, ::-1])
        assert not np.allclose(one[1:], one[:-1])
        assert all(not np.allclose(one, other) for other in arrays[:k])


def to_dense(weights, positions, num_slots):
    dense = np.zeros((len(weights), num_slots))
    for t in range(len(weights)):
        np.add.at(dense[t], positions[t], weights[t])
    return dense


@pytest.fixture(scope="module")
def ntm():
    """Write heads, read heads and their shifts, each another one; the first write head is not the first head."""
    sign = {"W_hid_to_sign": np.ones((5, 3))}
    return make_ntm(
        LSTMController,
        writes=[{"num_shifts": 5}, {**sign, "W_hid_to_sign_add": np.ones((5, 3))}],
        reads=[{}, {"shift_mode": "circular"}, sign],
        incoming=InputLayer((None, None, F)),
    )


def assert_ntm(trace, layer, x, mask=None, state=None):
    traces, _ = reference.run(layer, x[None], None if mask is None else mask[None])
    writers, readers = reference.split_heads(layer)
    assert (trace.kind, trace.num_slots, trace.slot_width) == ("NTM", 6, 3)
    assert trace.num_steps == len(x)
    assert_close(trace.memory, traces.memory[0])
    assert_close(trace.states["controller"], traces.hidden[0])
    assert [head.writes for head in trace.heads] == [True] * len(writers) + [False] * len(readers)
    weights = np.concatenate([traces.write_weights[0], traces.read_weights[0]], axis=1)
    first = np.array([reference.value(head.weights_init)[0] for head in writers + readers])
    order = slice(None, None, -1 if layer.backwards else 1)
    before = np.concatenate([first[None], weights[order][:-1]])[order]
    ran = np.ones(len(x), bool) if mask is None else mask != 0
    assert_differ(weights.swapaxes(0, 1))
    for k, head in enumerate(trace.heads):
        assert head.positions is None
        assert_close(head.weights, weights[:, k], head.name)
        assert_close(head.used[ran], before[ran, k], head.name)
        if not head.writes:
            reads = np.einsum("tn,tnm->tm", before[:, k], traces.memory[0])
            assert_close(head.results["read vector"][ran], reads[ran], head.name)
    assert_parameters(trace, writers + readers, traces.hidden[0])


@pytest.mark.slow
def test_an_ntm(ntm):
    x = data(T, F)
    inspector = Inspector(ntm, JAX)
    (trace,) = inspector.look_inside(x)
    assert_ntm(trace, ntm, x)
    assert (trace.name, trace.mask, trace.backwards, trace.notes) == ("NTM", None, False, ())
    names = ["write0", "write1", "read0", "read1", "read2"]
    assert repr(trace) == (
        f"<Trace of NTM 'NTM': {T} steps, {trace.num_slots} slots of width {trace.slot_width}, "
        "heads 'write0', 'write1', 'read0', 'read1', 'read2'>"
    )
    assert repr(trace.heads[0]) == f"<HeadTrace 'write0': {T} steps, {trace.num_slots} slots>"
    assert [head.name for head in trace.heads] == names
    # Parameters that change later are seen, and the padding is not: 5 steps run as 8
    param = get_all_params(ntm, trainable=True)[0]
    before = param.get_value()
    param.set_value(before + 0.1)
    x = data(7, F)
    assert_ntm(inspector.look_inside(x)[0], ntm, x)
    param.set_value(before)


@pytest.mark.slow
def test_a_masked_ntm_that_runs_backwards():
    l_in, l_mask = InputLayer((None, None, F)), InputLayer((None, None))
    layer = make_ntm(incoming=l_in, mask_input=l_mask, backwards=True, only_return_final=True)
    layer.name = "memory of facts"
    x, inspector = data(T, F), Inspector(DenseLayer(layer, 2), JAX)
    (trace,) = inspector.look_inside(x, mask=MASK)
    assert_ntm(trace, layer, x, MASK)
    assert (trace.name, trace.backwards) == ("memory of facts", True)
    assert trace.mask.tolist() == [True, True, False, True, True]
    (trace,) = inspector.look_inside(x)
    assert_ntm(trace, layer, x)
    assert trace.mask.all()


@pytest.mark.slow
@pytest.mark.parametrize("max_bytes", [2**28, T * 8 * 36])
def test_a_dnc(max_bytes):
    layer = make_dnc(LSTMController, num_writes=2, num_reads=3, clip=0.2)
    x = data(T, F)
    (trace,) = look_inside(layer, x, mode=JAX, max_bytes=max_bytes)
    _, traces, _ = dnc_reference.run(layer, x[None])
    assert trace.kind == "DNC"
    assert_close(trace.memory, traces.memory[0])
    for name in ("usage", "precedence"):
        assert_close(trace.states[name], getattr(traces, name)[0], name)
    if max_bytes == 2**28:
        assert_close(trace.states["links"], traces.links[0])
        assert not trace.notes
    else:
        assert "links" not in trace.states
        assert trace.notes == (
            "links left out: 8 steps would take 0 MB, more than max_bytes=1,440",
        )
    weights = np.concatenate([traces.write_weights[0], traces.read_weights[0]], axis=1)
    assert_differ(weights.swapaxes(0, 1))
    for k, head in enumerate(trace.heads):
        assert_close(head.weights, weights[:, k], head.name)
        assert_close(head.used, weights[:, k], head.name)
    for k, head in enumerate(trace.read_heads):
        assert_close(head.results["read vector"], traces.reads[0, :, k], head.name)
    assert np.abs(traces.hidden).max() > 0.2
    assert_parameters(trace, layer.heads, dnc_reference.limit(layer, traces.hidden[0]))


def find_ages(weights, used, threshold):
    """How long ago each slot was accessed last, before each step, (T, N)."""
    last, ages = np.zeros(used.shape[1], int), []
    for t, each in enumerate(used):
        ages.append(t + 1 - last)
        last[each > threshold] = t + 1
    return np.array(ages)


def assert_sparse(trace, layer, traces, keeps_memory):
    num_slots = layer.memory.memory_shape[0]
    if keeps_memory:
        assert_close(trace.memory, traces["memory"][0])
        assert_close(trace.states["last access"], traces["last_access"][0])
    else:
        assert trace.memory is None
        assert "last access" not in trace.states
    weights = np.concatenate([traces["write_weights"][0], traces["read_weights"][0]], axis=1)
    accessed = weights[:, 0] + weights[:, 1:].sum(axis=1)
    ages = find_ages(weights, accessed, layer.usage_threshold)
    assert_differ(weights.swapaxes(0, 1))
    for k, head in enumerate(trace.heads):
        assert_close(to_dense(head.weights, head.positions, num_slots), weights[:, k], head.name)
        expected = np.take_along_axis(ages, head.positions, axis=1)
        np.testing.assert_array_equal(head.results["age"], expected, err_msg=head.name)
    for k, head in enumerate(trace.read_heads):
        assert_close(head.results["read vector"], traces["reads"][0, :, k], head.name)
    assert_close(trace.states["controller"], traces["hidden"][0])
    assert_parameters(trace, layer.heads, traces["hidden"][0])


@pytest.mark.slow
def test_a_sam():
    layer = make_sam(LSTMController, num_reads=2, num_read_slots=2)
    x = data(T, F)
    (trace,) = look_inside(layer, x, mode=JAX)
    _, traces = sam_reference.run(layer, x[None])
    assert trace.kind == "SAM"
    assert_sparse(trace, layer, traces, keeps_memory=True)
    for k, head in enumerate(trace.read_heads):
        np.testing.assert_array_equal(head.positions, traces["read_positions"][0, :, k])


@pytest.mark.slow
def test_an_sdnc_whose_memory_is_left_out():
    layer = make_sdnc(num_reads=2, num_read_slots=1, num_links=3)
    x = data(T, F)
    (trace,) = look_inside(layer, x, mode=JAX, max_bytes=1000)
    _, traces, _ = sdnc_reference.run(layer, x[None])
    assert trace.kind == "SDNC"
    assert_sparse(trace, layer, traces, keeps_memory=False)
    precedence = to_dense(trace.states["precedence"], trace.states["precedence positions"], 6)
    assert_close(precedence, traces["precedence"][0, :, 0])
    (writer,) = trace.write_heads
    for way in ("backward", "forward"):
        links, positions = (writer.results[f"{way} {part}"] for part in ("links", "positions"))
        for t in range(T):
            expected = traces[f"{way}_links"][0, t][writer.positions[t]]
            assert_close(to_dense(links[t], positions[t], 6), expected, (way, t))
    assert np.abs(traces["forward_links"]).max() > 0.1


LEVELS = {
    "ntm": partial(NTMLayer, controller=lambda l: DenseLayer(l, 5), heads=[WriteHead, ReadHead]),
    "dnc": partial(DNCLayer, controller=lambda l: DenseLayer(l, 5), num_reads=2),
    "sam": partial(SAMLayer, controller=lambda l: DenseLayer(l, 5), num_reads=2, num_read_slots=2),
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "max_bytes"), [("ntm", 2**28), ("dnc", 2**28), ("sam", 1000)])
def test_levels_that_share_a_memory(kind, max_bytes):
    l_in, l_mask = InputLayer((None, None, F)), InputLayer((None, None))
    layer = SharedMemoryLayer(l_in, (6, 3), 2 * [LEVELS[kind]], mask_input=l_mask)
    randomize(layer)
    x = data(T, F)
    traces = look_inside(layer, x, mask=MASK, mode=JAX, max_bytes=max_bytes)
    _, (states,) = shared_reference.run(layer, x[None], MASK[None])
    assert [trace.name for trace in traces] == [
        f"{kind.upper()}, level {level}" for level in (1, 2)
    ]
    for k, (trace, level) in enumerate(zip(traces, layer.levels, strict=True)):
        own = [row[k] for row in states]
        if max_bytes == 2**28:
            assert_close(trace.memory, [each.memory for each in own])
        else:
            assert trace.memory is None
        weights = [
            np.concatenate([np.atleast_2d(each.write_weights), each.read_weights]) for each in own
        ]
        weights = np.array(weights)
        assert_differ(weights[MASK == 1].swapaxes(0, 1))
        for n, head in enumerate(trace.heads):
            shown = head.weights
            if kind == "sam":
                shown = to_dense(shown, head.positions, 6)
            assert_close(shown, weights[:, n], head.name)
        assert_parameters(trace, level.heads, np.array([each.controller[0] for each in own]))
        assert trace.mask.tolist() == (MASK == 1).tolist()


@pytest.mark.slow
def test_several_memories_and_several_inputs():
    l_x = InputLayer((None, None, F), name="x")
    l_word = InputLayer((None, None), input_var=pt.imatrix(), name="word")
    l_in = ConcatLayer([l_x, EmbeddingLayer(l_word, 7, 2)], axis=2)
    heads = [WriteHead, ReadHead]
    below = NTMLayer(l_in, (6, 3), lambda l: DenseLayer(l, 5), heads)
    top = NTMLayer(below, (4, 2), lambda l: LSTMController(l, num_units=4), heads)
    randomize(top)
    words = np.arange(T)
    inspector = Inspector(DenseLayer(top, 2, num_leading_axes=2), JAX)
    first, second = inspector.look_inside({"x": data(T, F), "word": words})
    assert (first.name, second.name) == ("NTM 1", "NTM 2")
    assert (first.memory.shape, second.memory.shape) == ((T, 6, 3), (T, 4, 2))
    x = np.concatenate([data(T, F), l_in.input_layers[1].W.get_value()[words]], axis=1)
    assert_ntm(first, below, x)
    for head in (*first.heads, *second.heads):
        assert head.weights.dtype == "float64"
    traces, _ = reference.run(top, first.states["controller"][None])
    assert_close(second.memory, traces.memory[0])
    for inputs, message in [
        (data(T, F), "look_inside: the network has 2 inputs; give a dictionary"),
        ({"x": data(T, F)}, "look_inside: no values are given for the input 'word'"),
        ({"x": data(T, F), "word": words[1:]}, r"word'\]\[0\] must have as many steps as"),
        ({"x": data(T, F + 1), "word": words}, r"inputs\['x'\] has 3 features where"),
        ({"x": data(1, T, F), "word": words}, r"'x'\] must be of shape \(steps, 2\), not \(1, 5"),
        (
            {"x": data(T, F), "word": words + 5},
            r"'word'\]\[2\] must be a symbol from 0 to 6, not 7",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            inspector.look_inside(inputs)


@pytest.mark.slow
def test_a_million_slots(float32):
    layer = SAMLayer(
        InputLayer((None, None, F)), (2**20, 2), lambda l: DenseLayer(l, 5), nearest="lsh"
    )
    (trace,) = look_inside(layer, data(T, F))
    assert trace.memory is None
    assert trace.num_slots == 2**20
    assert sorted(trace.states) == ["controller"]
    (note,) = trace.notes
    assert note.startswith("memory left out: 8 steps would take")
    largest = []
    trace.map(lambda array: largest.append(array.size))
    assert max(largest) < 100
    (writer,) = trace.write_heads
    # The least recently used slot is the last of those written to, and another one at each step
    assert len(set(writer.positions[:, -1].tolist())) == T
    assert np.array_equal(writer.positions[1:, :-1], trace.read_heads[0].positions[:-1])


def test_networks_without_memory_and_masks_that_do_not_fit():
    l_in = InputLayer((None, None, F))
    assert look_inside(DenseLayer(l_in, 3, num_leading_axes=2), data(T, F)) == []
    with pytest.raises(ValueError, match="mask is for networks of which a layer has mask_input"):
        look_inside(DenseLayer(l_in, 3, num_leading_axes=2), data(T, F), mask=MASK)
    with pytest.raises(TypeError, match="look_inside: l_out must be the last layer of a network"):
        look_inside([l_in], data(T, F))
    with pytest.raises(ValueError, match="max_bytes must be an integer of at least 1, not 0"):
        look_inside(l_in, data(T, F), max_bytes=0)
