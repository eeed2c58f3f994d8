"""The table of a network, and the memory of a training step against what XLA says."""

import gc
from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.traversal import ancestors

import lasagne
import ntm
from lasagne.accumulation import count_bytes
from lasagne.layers import (
    ConcatLayer,
    DenseLayer,
    DropoutLayer,
    EmbeddingLayer,
    InputLayer,
    InverseLayer,
    LSTMLayer,
    MergeLayer,
    RecurrentLayer,
    SliceLayer,
    batch_norm,
    count_params,
    get_all_params,
    get_output,
)
from lasagne.loop import Loop
from lasagne.residuals import count_loop_bytes
from lasagne.updates import adam, sgd
from ntm.summaries import format_bytes

from .networks import H, make_dnc, make_ntm, make_sam, make_sdnc

#: Bytes of a number
FLOAT = np.dtype(pytensor.config.floatX).itemsize


def get_rows(l_out, **options):
    """The rows of the table by their labels."""
    return {row.label: row for row in ntm.summary(l_out, **options).rows}


def test_table():
    l_in = InputLayer((None, None, 3), name="bits")
    layer = ntm.NTMLayer(
        l_in, (8, 4), lambda l: DenseLayer(l, 5), [ntm.WriteHead, ntm.ReadHead], name="machine"
    )
    l_out = DenseLayer(layer, 2, num_leading_axes=2)
    expected = """\
Layer                           Output shape     Parameters  Trainable      Kept
--------------------------------------------------------------------------------
bits (InputLayer)               (None, None, 3)           0          0
machine (NTMLayer)              (None, None, 5)         261        240   2.93 kB
  controller (StackController)  (None, 5)                45         40
    DenseLayer                  (None, 5)                40         40
  memory (Memory)               (8, 4)                   32         32
  write (WriteHead)                                     116        108
  read (ReadHead)                                        68         60
DenseLayer                      (None, None, 2)          12         12  96 bytes
--------------------------------------------------------------------------------
Parameters: 273; 252 trainable, 21 not trainable
"""
    summary = ntm.summary(l_out, batch_size=2, num_steps=3)
    text = str(summary)
    table, _, memory = text.partition("Memory of")
    assert table == expected
    assert memory.startswith(" a training step, 2 sequences of 3 steps, by JAX:\n")
    assert repr(summary) == text
    assert max(map(len, text.splitlines())) < 88


def test_numbers_are_those_of_the_network():
    l_out = DenseLayer(make_dnc(num_reads=2), 4, num_leading_axes=2)
    summary = ntm.summary(l_out)
    assert summary.num_params == count_params(l_out)
    assert summary.num_trainable == count_params(l_out, trainable=True)
    assert summary.num_trainable < summary.num_params
    # The lines of layers add up to the whole, and the parts to their layer
    layers = [row for row in summary.rows if row.depth == 0]
    parts = [row for row in summary.rows if row.depth == 1]
    assert sum(row.num_params for row in layers) == summary.num_params
    assert sum(row.num_params for row in parts) == layers[1].num_params
    assert sum(row.num_trainable for row in parts) == layers[1].num_trainable
    labels = [row.label for row in parts]
    assert labels == ["controller", "memory", "write0", "read0", "read1"]
    sizes = {row.label: row.num_params for row in parts}
    for head in l_out.input_layer.heads:
        assert sizes[head.name] == sum(p.get_value().size for p in head.get_params())


def test_layers_of_heads_on_request():
    layer = make_ntm()
    rows = get_rows(layer, list_head_layers=True)
    assert rows["write0.key"].depth == 2
    assert rows["write0.key"].num_params == rows["read0.key"].num_params == (5 + 1) * 3
    inside = [row for label, row in rows.items() if label.startswith("read0.")]
    # A head has the weights before the first step besides
    assert sum(row.num_params for row in inside) == rows["read0"].num_params - 6
    assert "write0.key" not in get_rows(layer)


def test_shared_parameters_count_once():
    l_in = InputLayer((None, 4))
    first = DenseLayer(l_in, 4, name="first")
    second = DenseLayer(first, 4, W=first.W, name="second")
    summary = ntm.summary(second)
    assert [row.num_params for row in summary.rows] == [0, 20, 4]
    assert summary.num_params == count_params(second) == 24
    (note,) = summary.notes
    assert note.startswith("second (DenseLayer) has 16 of its numbers in common with first")
    assert note in str(summary)


def test_layer_that_feeds_two_others_is_listed_once():
    first, second = InputLayer((None, 3), name="a"), InputLayer((None, 5), name="b")
    hidden = DenseLayer(first, 3)
    merged = ConcatLayer([first, hidden, second])
    rows = get_rows([DenseLayer(merged, 2), DenseLayer(hidden, 2)])
    assert list(rows) == ["a", "DenseLayer 1", "b", "ConcatLayer", "DenseLayer 2", "DenseLayer 3"]
    assert rows["ConcatLayer"].below == ("a", "DenseLayer 1", "b")
    assert rows["DenseLayer 3"].below == ("DenseLayer 1",)
    text = str(ntm.summary(merged))
    assert text.splitlines()[0].endswith("Fed by")
    assert "a, DenseLayer, b" in text
    assert "Fed by" not in str(ntm.summary(hidden))


def test_layers_of_one_name_are_told_apart():
    l_in = InputLayer((None, 3), name="same")
    assert list(get_rows(DenseLayer(l_in, 3, name="same"))) == ["same 1", "same 2"]


def test_batch_normalisation_has_parameters_that_are_not_trained():
    l_out = batch_norm(DenseLayer(InputLayer((None, 3)), 5))
    row = get_rows(l_out)["BatchNormLayer"]
    assert (row.num_params, row.num_trainable) == (20, 10)


def test_levels_that_share_a_memory():
    level = partial(ntm.DNCLayer, controller=lambda l: ntm.LSTMController(l, num_units=4))
    layer = ntm.SharedMemoryLayer(InputLayer((None, None, 2)), (6, 3), [level, level])
    summary = ntm.summary(layer)
    assert summary.num_params == count_params(layer)
    shown = [(row.depth, row.label) for row in summary.rows if row.depth]
    inside = [(2, "controller"), (3, "LSTMController"), (2, "write"), (2, "read0")]
    assert shown == [(1, "memory"), (1, "level 1"), *inside, (1, "level 2"), *inside]
    assert summary.notes == []
    parts = [row.num_params for row in summary.rows if row.depth == 1]
    assert sum(parts) == summary.num_params


def test_recurrent_layer_shows_its_connections():
    rows = get_rows(RecurrentLayer(InputLayer((None, None, 2)), 5))
    assert [row.depth for row in rows.values()] == [0, 0, 1, 1]
    assert rows["input_to_hidden"].num_params == 2 * 5 + 5


def test_layer_that_does_not_tell_its_shape():
    class Pick(MergeLayer):
        def get_output_for(self, inputs, **kwargs):
            return inputs[0]

    l_in = InputLayer((None, 3))
    rows = get_rows(Pick([l_in, l_in]))
    assert rows["Pick"].shape is None
    assert rows["InputLayer"].shape == (None, 3)


@pytest.mark.parametrize(
    "thing", [3, None, "network", InputLayer, [InputLayer((2, 3)), 3], pt.matrix()]
)
def test_what_is_no_network(thing):
    with pytest.raises(TypeError, match="summary: expected a layer or a list of layers, got"):
        ntm.summary(thing)


# ---- Memory


def test_kept_by_hand():
    """Of an LSTM: cell and hidden state, and the input to all gates; then the output."""
    l_in = InputLayer((None, None, 3))
    l_out = DenseLayer(LSTMLayer(l_in, 5), 2, num_leading_axes=2)
    kept = [row.kept for row in ntm.summary(l_out, batch_size=4, num_steps=7).rows]
    assert kept == [None, 4 * 7 * (5 + 5 + 4 * 5 + 5) * FLOAT, 4 * 7 * 2 * FLOAT]
    memory = ntm.summary(l_out, batch_size=4, num_steps=7).memory
    assert memory.inputs == 4 * 7 * 3 * FLOAT
    # Gradients of the input to all gates, and of the product with the weights
    assert memory.work == 4 * 7 * (4 * 5 + 4 * 5) * FLOAT
    assert memory.params == 2 * count_params(l_out) * FLOAT
    assert memory.grads == count_params(l_out, trainable=True) * FLOAT
    assert memory.kept == sum(kept[1:])
    parts = (memory.params, memory.grads, memory.update, memory.inputs, memory.kept, memory.work)
    assert memory.total == sum(parts)


def test_gradient_checkpointing_keeps_less():
    counted = {}
    for every in (1, 10, 100):
        layer = make_ntm(checkpoint_every=every)
        counted[every] = ntm.summary(layer, batch_size=2, num_steps=100).memory
    assert counted[10].kept < counted[1].kept / 3
    assert counted[100].kept < counted[10].kept
    assert counted[10].work < counted[100].work
    assert counted[10].total < counted[100].total


def test_truncated_gradient_counts_each_step_once():
    whole, truncated = (
        ntm.summary(make_ntm(gradient_steps=steps), 2, 50).memory.kept for steps in (-1, 10)
    )
    assert truncated == whole


def test_a_sparse_memory_is_held_twice_and_not_kept_at_each_step():
    sizes = [(300, 3), (600, 3)]
    short, long = ([make_sam(memory_shape=size), t] for size, t in zip(sizes, (5, 5), strict=True))
    small, large = (ntm.summary(net, 2, t).memory for net, t in (short, long))
    assert large.kept == small.kept
    # The memory, its gradient, and the step of the last access
    assert large.work - small.work >= 2 * 2 * 300 * 3 * FLOAT
    longer = ntm.summary(short[0], 2, 10).memory
    assert longer.kept == 2 * small.kept


def test_time_steps_that_a_layer_leaves_out():
    l_in = InputLayer((None, None, 3))
    half = SliceLayer(l_in, slice(0, 10), axis=1)
    kept = [get_rows(LSTMLayer(l, 5), batch_size=1, num_steps=20) for l in (l_in, half)]
    assert kept[0]["LSTMLayer"].kept == 2 * kept[1]["LSTMLayer"].kept


def test_unrolled_loop_is_said_not_to_be_counted():
    for unroll in (True, False):
        layer = LSTMLayer(InputLayer((None, 4, 3)), 5, unroll_scan=unroll, name="cell")
        text = str(ntm.summary(layer, batch_size=2))
        assert ("cell (LSTMLayer) is not counted: its loop is unrolled" in text) is unroll


def test_update_rules():
    l_out = DenseLayer(InputLayer((None, 4)), 10)
    size = count_params(l_out) * FLOAT
    states = {
        rule: ntm.summary(l_out, batch_size=1, update=rule).memory.update for rule in (adam, sgd)
    }
    assert 4 * size <= states[adam] <= 4 * size + 4 * FLOAT  # and the number of the step
    assert states[sgd] == 0
    assert ntm.summary(l_out, batch_size=1, update=None).memory.update == 0
    named = str(ntm.summary(l_out, batch_size=1, update=partial(adam, beta1=0.5)))
    assert "state of the update rule adam" in named


def test_layers_made_from_shapes_and_integers():
    words = EmbeddingLayer(InputLayer((None, None), pt.lmatrix("words")), 20, 6)
    both = ConcatLayer([LSTMLayer(words, 4), (None, None, 3)], axis=2)
    kept = get_rows(both, batch_size=2, num_steps=5)
    assert kept["EmbeddingLayer"].kept == 2 * 5 * 6 * FLOAT
    assert kept["ConcatLayer"].kept == 2 * 5 * 7 * FLOAT
    # A layer that needs the graph below
    l_in = InputLayer((None, 4))
    hidden = DenseLayer(l_in, 3)
    assert get_rows(InverseLayer(hidden, hidden), batch_size=2)["InverseLayer"].kept


def test_a_summary_changes_nothing():
    """Neither parameters nor the numbers that dropout draws later."""
    drawn = []
    for is_summarised in (False, True):
        lasagne.random.set_rng(np.random.RandomState(1))
        layer = ntm.NTMLayer(
            InputLayer((None, 3, 2)),
            (6, 3),
            lambda l: DropoutLayer(DenseLayer(l, 5), name="inside"),
            [ntm.WriteHead, ntm.ReadHead],
        )
        l_out = DropoutLayer(batch_norm(DenseLayer(layer, 4)))
        if is_summarised:
            ntm.summary(l_out, 2, 3)
        values = [param.get_value() for param in get_all_params(l_out)]
        output = get_output([layer, l_out], np.ones((2, 3, 2)))
        drawn.append([*values, *pytensor.function([], output)(), lasagne.random.get_rng().rand()])
    for before, after in zip(*drawn, strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((None, None, 3), {"batch_size": 2}, "num_steps is needed, because InputLayer is of shape"),
        ((None, None, 3), {"num_steps": 0}, "num_steps must be an integer of at least 1, not 0"),
        ((None, None, 3), {"num_steps": 5, "batch_size": 0}, "batch_size must be an integer"),
        ((None, None, 3), {"num_steps": 2.5}, "num_steps must be an integer"),
        ((4, None, 3), {"num_steps": 5, "batch_size": 2}, "is 2, but InputLayer is for batches of"),
        ((None, 6, 3), {"num_steps": 5}, "num_steps is 5, but no input of the network"),
        ((None, 3), {"num_steps": 5}, "num_steps is 5, but no input of the network"),
        ((None, None, None, 3), {"num_steps": 5}, "follows from known sizes, but InputLayer is of"),
    ],
)
def test_sizes_that_do_not_fit(shape, options, message):
    with pytest.raises(ValueError, match=f"summary: .*{message}"):
        ntm.summary(InputLayer(shape), **options)


def test_batch_size_of_the_network():
    memory = ntm.summary(LSTMLayer(InputLayer((4, None, 3)), 5), num_steps=7).memory
    assert (memory.batch_size, memory.inputs) == (4, 4 * 7 * 3 * FLOAT)
    other = ntm.summary(LSTMLayer(InputLayer((None, None, 3)), 5), 4, 7).memory
    assert (memory.kept, memory.work) == (other.kept, other.work)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (14_230_000, "14.2 MB"),
        (3.2e12, "3.2 TB"),
    ],
)
def test_bytes_in_words(size, text):
    assert format_bytes(size) == text


# ---- Against XLA


def measure(l_out, batch_size, num_steps):
    """What XLA says that a training step takes: arguments, results, and what it holds besides."""
    import jax

    def list_programs():
        return {each.fingerprint: each for each in jax.devices()[0].client.live_executables()}

    x, target = pt.tensor3("x"), pt.tensor3("target")
    loss = pt.sqr(get_output(l_out, x) - target).mean()
    params = get_all_params(l_out, trainable=True)
    updates = adam(pytensor.grad(loss, params), params)
    train = pytensor.function([x, target], loss, updates=updates, mode=ntm.get_mode("jax"))
    gc.collect()
    before = list_programs()
    shapes = [(batch_size, num_steps, size) for size in (4, l_out.num_units)]
    train(*(np.zeros(shape, x.dtype) for shape in shapes))
    stats = [
        program.get_compiled_memory_stats()
        for fingerprint, program in list_programs().items()
        if fingerprint not in before
    ]
    return max(
        each.temp_size_in_bytes + each.argument_size_in_bytes + each.output_size_in_bytes
        for each in stats
    )


LARGER = {
    "NTM and LSTM": lambda incoming: make_ntm(
        incoming=LSTMLayer(incoming, 30), memory_shape=(64, 10)
    ),
    "NTM, gradient checkpointing": partial(
        make_ntm, memory_shape=(64, 10), checkpoint_every=7, reads=({}, {})
    ),
    "NTM, truncated gradient": partial(make_ntm, memory_shape=(64, 10), gradient_steps=9),
    "DNC": partial(make_dnc, memory_shape=(32, 10), num_reads=2),
    "SAM": partial(make_sam, memory_shape=(256, 10), num_reads=2),
    "SDNC": partial(make_sdnc, memory_shape=(256, 10), num_links=4),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.exhaustive] * (name != "NTM and LSTM"))
        for name in LARGER
    ],
)
def test_memory_is_about_what_xla_says(name, float32):
    l_out = DenseLayer(LARGER[name](incoming=InputLayer((None, None, 4))), 3, num_leading_axes=2)
    said = measure(l_out, 16, 50)
    counted = ntm.summary(l_out, 16, 50).memory.total
    assert 0.85 < said / counted < 1.4


def test_kept_bytes_are_those_that_blocks_are_chosen_by():
    """The states of the steps are what `count_bytes` counts; the sequences that enter come on top."""
    x = pt.tensor3("x")
    output = get_output(make_ntm(), x)
    (loop,) = {v.owner.op for v in ancestors([output]) if v.owner and isinstance(v.owner.op, Loop)}
    entering = 20 * H * FLOAT  # The input times the controller's weights
    assert count_loop_bytes(loop, 20).kept == count_bytes([output], 20).total + entering
