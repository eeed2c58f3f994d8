"""The index of slots against a model in NumPy, the layer with it, and the slot least used without a full search."""

import re
from functools import cache, partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.layers import InputLayer, get_all_params
from ntm import HyperplaneIndex, SAMLayer, StepFunction, load, save
from ntm.addressing.nearest import ExactSearch
from ntm.addressing.sparse import find_least_used, get_minima, update_last_access, update_minima
from ntm.controllers import GRUController, LSTMController
from ntm.layers.state import IndexedSAMState, SAMState

from ..networks import B, F, H, data, make_sam, randomize, to_jax, to_python, weighted_sum

N, M = MEMORY_SHAPE = (6, 3)
T = 14
MASK = (np.random.default_rng(0).uniform(size=(B, T)) < 0.7).astype(float)


def make_index(**options):
    return HyperplaneIndex(
        MEMORY_SHAPE,
        **{"num_tables": 2, "num_bits": 2, "bucket_size": 2, "num_flips": 1, "num_recent": 2}
        | options,
    )


# ---- The index by itself

SLOTS, WIDTH, READS, READ_SLOTS, WRITES = 12, 4, 2, 3, 5


class Model:
    """The index of one memory: for each table a dict from the bucket's signs to a list with a place that is next."""

    def __init__(self, index):
        self.index = index
        planes = np.asarray(index.hyperplanes.get_value())
        self.planes = planes.reshape(WIDTH, index.num_tables, index.num_bits)
        self.buckets = [{} for _ in range(index.num_tables)]
        self.recent = {}

    def write(self, memory, positions, weights, time):
        entered = [slot for slot, weight in zip(positions, weights, strict=True) if weight > 0]
        for table, buckets in enumerate(self.buckets):
            new = {}
            for slot in dict.fromkeys(entered):
                signs = tuple(memory[slot] @ self.planes[:, table] > 0)
                bucket = buckets.setdefault(signs, [[None] * self.index.bucket_size, 0])
                if slot not in bucket[0]:
                    new.setdefault(signs, []).append(slot)
            for signs, slots in new.items():
                bucket = buckets[signs]
                for slot in slots[: self.index.bucket_size]:
                    bucket[0][bucket[1]] = slot
                    bucket[1] = (bucket[1] + 1) % self.index.bucket_size
        self.recent[(time - 1) % self.index.num_recent] = positions[-1]

    def find(self, memory, key):
        candidates = {*range(READ_SLOTS), *self.recent.values()}
        for table, buckets in enumerate(self.buckets):
            margins = key @ self.planes[:, table]
            free = np.argsort(abs(margins))[: self.index.num_flips]
            for signs, (entries, _) in buckets.items():
                if all((margins[k] > 0) == s for k, s in enumerate(signs) if k not in free):
                    candidates |= {slot for slot in entries if slot is not None}
        squares = (memory**2).sum(axis=1) + 1e-6 / (key @ key)
        likeness = (memory @ key) / np.sqrt(squares)
        return sorted(candidates, key=lambda slot: (-likeness[slot].round(12), slot))[:READ_SLOTS]


INDICES = {
    "small buckets": {"num_tables": 2, "num_bits": 2, "bucket_size": 2, "num_flips": 1},
    "no flips": {"num_tables": 3, "num_bits": 3, "bucket_size": 3, "num_flips": 0},
    "all buckets": {"num_tables": 1, "num_bits": 2, "bucket_size": SLOTS, "num_flips": 2},
    "recent alone": {"num_tables": 1, "num_bits": 6, "bucket_size": 1, "num_recent": 30},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", INDICES)
@pytest.mark.parametrize("compile", [to_jax, to_python])
def test_index_equals_the_model(case, compile):
    index = HyperplaneIndex((SLOTS, WIDTH), **{"num_recent": 1, "num_flips": 0} | INDICES[case])
    memory, key, weights = pt.tensor3("memory"), pt.tensor3("key"), pt.matrix("weights")
    positions, runs, time = pt.imatrix("positions"), pt.vector(dtype="bool"), pt.ivector("time")
    stores = [part.type() for part in index.make_state(B)]
    after = index.update(stores, memory, positions, weights, runs, time)
    found = index.select(key, memory, after, READ_SLOTS)
    inputs = [key, memory, positions, weights, runs, time, *stores]
    function = compile(inputs, [found, *after])

    rng = np.random.default_rng(1)
    parts = to_python([], index.make_state(B))()
    rows = np.zeros((B, SLOTS, WIDTH))
    models, times, written = [Model(index) for _ in range(B)], np.zeros(B, "int32"), set()
    for step in range(25):
        places = rng.integers(0, SLOTS, (B, WRITES)).astype("int32")
        ran = rng.uniform(size=B) < 0.8
        given = np.where(rng.uniform(size=(B, WRITES)) < 0.3, 0.0, 0.5)
        keys = rng.normal(size=(B, READS, WIDTH))
        times += 1
        before = parts
        for b in np.flatnonzero(ran):
            rows[b, places[b, -1]] = 0.0
            for j in np.flatnonzero(given[b]):
                # Some slots are alike
                rows[b, places[b, j]] = rng.integers(-1, 2, WIDTH)
            models[b].write(rows[b], places[b], given[b], times[b])
            written |= {(b, slot) for slot in places[b, given[b] > 0]}
        results, *parts = function(keys, rows, places, given, ran, times, *parts)
        for b in range(B):
            expected = [models[b].find(rows[b], each) for each in keys[b]]
            np.testing.assert_array_equal(results[b], expected, err_msg=f"step {step}")
            if not ran[b]:
                for part, other in zip(parts, before, strict=True):
                    np.testing.assert_array_equal(part[b], other[b])
    assert len(written) == B * SLOTS
    if case == "all buckets":
        likeness = [[cosine(k, rows[b]) for k in keys[b]] for b in range(B)]
        order = np.argsort(-np.round(likeness, 9), axis=-1, kind="stable")
        np.testing.assert_array_equal(results, order[..., :READ_SLOTS])


@pytest.mark.slow
@pytest.mark.parametrize("nearest", [ExactSearch(), make_index(num_flips=2, bucket_size=N)])
@pytest.mark.parametrize("compile", [to_jax, to_python])
def test_a_slot_that_is_not_a_number_is_found(nearest, compile):
    """So that a memory that went wrong does not go on without a word."""
    key, memory = pt.tensor3("key"), pt.tensor3("memory")
    state = nearest.make_state(1)
    written = (np.arange(N, dtype="int32")[None], np.ones((1, N)), [True], np.array([1], "int32"))
    stores = nearest.update(nearest.pack(memory, state), memory, *map(pt.constant, written))
    function = compile([key, memory], nearest.select(key, memory, stores, 2))
    rows = data(1, N, M)
    rows[0, 4, 1] = np.nan
    assert function(data(1, 1, M, seed=3), rows)[0, 0, 0] == 4


def cosine(key, rows):
    return rows @ key / np.sqrt((rows**2).sum(axis=1) * (key @ key) + 1e-6)


def test_sizes():
    assert HyperplaneIndex((2**20, 32)).num_bits == 17
    assert HyperplaneIndex((4, 3)).num_flips == 1
    index = HyperplaneIndex((4096, 8), num_tables=3, num_bits=5)
    assert index.hyperplanes.get_value().shape == (8, 15)
    assert index.get_params(trainable=True) == []


# ---- The slot least used


@pytest.mark.slow
@pytest.mark.parametrize("slots", [40, 1500, 70000])
def test_least_used_is_the_first_of_the_oldest(slots):
    last_access = pt.tensor("last_access", dtype="int32", shape=(None, slots))
    positions, weights, time = pt.imatrix(), pt.matrix(), pt.ivector()
    minima = [pt.tensor(dtype="int32", shape=v.type.shape) for v in get_minima(last_access)]
    assert len(minima) == {40: 0, 1500: 1, 70000: 2}[slots]
    new = update_last_access(last_access, time, positions, weights, 0.1)
    after = update_minima(minima, new, positions)
    step = to_jax(
        [last_access, *minima, positions, weights, time],
        [find_least_used(last_access, minima), new, *after],
    )
    start = to_jax([last_access], [last_access, *get_minima(last_access)])
    rng = np.random.default_rng(0)
    _, *low = start(np.zeros((2, slots), "int32"))
    values = rng.integers(0, 3, (2, slots)).astype("int32")
    parts = start(values)
    assert len(parts) == 1 + len(low)
    for time_now in range(3, 60):
        expected = parts[0].argmin(axis=1)
        chosen = rng.integers(0, slots, (2, 4)).astype("int32")
        chosen[:, 0] = expected
        given = np.where(rng.uniform(size=chosen.shape) < 0.2, 0.0, 1.0)
        found, *parts = step(*parts, chosen, given, np.full(2, time_now, "int32"))
        np.testing.assert_array_equal(found, expected)
    for part, wanted in zip(parts, start(parts[0]), strict=True):
        np.testing.assert_array_equal(part, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("compile", [to_jax, to_python])
@pytest.mark.parametrize("slots", [1025, 1500, 4160, 70001])
def test_least_used_of_slots_that_are_all_in_use(slots, compile):
    """Wherever it is: in the first block, at the ends of blocks, in the last block, which may be a short one."""
    last_access, positions = (
        pt.tensor("last_access", dtype="int32", shape=(None, slots)),
        pt.imatrix(),
    )
    minima = get_minima(last_access)
    function = compile([last_access], [find_least_used(last_access, minima), *minima])
    before = [pt.tensor(dtype="int32", shape=level.type.shape) for level in minima]
    update = compile(
        [last_access, *before, positions], update_minima(before, last_access, positions)
    )
    rng = np.random.default_rng(0)
    last = slots - 1
    for place in (0, 63, 64, slots // 2, last - last % 64 - 1, last - last % 64, last):
        values = rng.integers(5, 9, (2, slots)).astype("int32")
        values[0, place] = 3
        values[1, [place, last]] = 4
        found, *levels = function(values)
        np.testing.assert_array_equal(found, [place, place])
        below = values
        for level in levels:
            blocks = np.split(below, range(64, below.shape[1], 64), axis=1)
            below = np.stack([block.min(axis=1) for block in blocks], axis=1)
            np.testing.assert_array_equal(level, below)
        chosen = np.array([[place, last], [last, place]], "int32")
        np.put_along_axis(values, chosen, 20, axis=1)
        for level, wanted in zip(
            update(values, *levels, chosen), function(values)[1:], strict=True
        ):
            np.testing.assert_array_equal(level, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("nearest", ["exact", "lsh"])
def test_a_step_from_a_state_in_use_writes_to_the_slot_least_used(nearest):
    slots = 1100
    layer = make_sam(memory_shape=(slots, M), nearest=nearest)
    state, x = layer.make_state_variables(), pt.matrix("x")
    new = layer.step(x, state)
    outputs = [new.write_positions, new.last_access]
    function = to_python([x, *state.flatten()], outputs, on_unused_input="ignore")
    start = state.unflatten(to_python([], layer.get_initial_state(B).flatten())())
    last_access = np.random.default_rng(0).integers(2, 9, (B, slots)).astype("int32")
    oldest = [1, slots - 1, slots - slots % 64]
    last_access[range(B), oldest] = 1
    start = start._replace(last_access=last_access, time=np.full(B, 20, "int32"))
    positions, after = function(data(B, F), *start.flatten())
    np.testing.assert_array_equal(positions[:, -1], oldest)
    np.testing.assert_array_equal(after[range(B), oldest], 21)


# ---- The layer


@pytest.mark.slow
def test_all_slots_as_candidates_equal_exact_search():
    """The first K slots are always candidates."""
    make = partial(make_sam, LSTMController, 2, memory_shape=MEMORY_SHAPE, num_read_slots=N)
    x = pt.tensor3()
    layers = [make(), make(nearest=make_index())]
    results = to_jax([x], [layer.get_output_for(x) for layer in layers])(data(B, T, F))
    np.testing.assert_allclose(results[1], results[0], rtol=0, atol=1e-12)


def get_gradients(layer, x):
    variable = pt.tensor3("x")
    output = layer.get_output_for(variable)
    params = layer.get_params(trainable=True)
    grads = pytensor.grad(weighted_sum(output), [variable, *params])
    return to_jax([variable], [output, *grads])(x)


@pytest.mark.slow
def test_gradients_where_writes_are_undone_equal_those_of_the_loop_that_keeps_all():
    make = partial(make_sam, num_reads=2, memory_shape=MEMORY_SHAPE, num_read_slots=2)
    index, x = make_index(), data(B, T, F)
    expected = get_gradients(make(nearest=index, gradient_steps=T), x)
    results = get_gradients(make(nearest=index), x)
    for value, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-8, atol=1e-10)
        assert np.any(wanted)


@cache
def get_layer():
    return make_sam(
        LSTMController,
        2,
        memory_shape=MEMORY_SHAPE,
        num_read_slots=2,
        nearest=make_index(),
        mask_input=InputLayer((None, None)),
    )


@pytest.mark.slow
def test_two_halves_equal_the_whole_and_masked_steps_change_nothing():
    layer = get_layer()
    x, mask, state = pt.tensor3("x"), pt.matrix("mask"), layer.make_state_variables()
    assert isinstance(state, IndexedSAMState)
    output, last = layer.get_output_for([x, mask], state=state, return_state=True)
    function = to_jax([x, mask, *state.flatten()], [output, *last.flatten()])
    start = to_python([], layer.get_initial_state(B).flatten())()
    values = data(B, T, F)
    expected = function(values, MASK, *start)
    first, *middle = function(values[:, :6], MASK[:, :6], *start)
    second, *end = function(values[:, 6:], MASK[:, 6:], *middle)
    for value, wanted in zip(
        [np.concatenate([first, second], axis=1), *end], expected, strict=True
    ):
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-12)
        assert value.dtype == wanted.dtype
    last = layer.get_initial_state(1).unflatten(end)
    assert np.any(last.buckets[..., :-1])
    assert np.any(last.recent)
    # Only the steps that run count
    for b in range(B):
        kept = MASK[b] != 0
        short = function(values[b : b + 1, kept], np.ones((1, kept.sum())), *(p[:1] for p in start))
        for part, wanted in zip(short[1:], expected[1:], strict=True):
            np.testing.assert_allclose(part[0], wanted[b], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_step_function_and_reset():
    layer = make_sam(num_reads=2, memory_shape=MEMORY_SHAPE, nearest=make_index())
    x, values = pt.tensor3(), data(B, 4, F)
    expected = to_jax([x], layer.get_output_for(x))(values)
    step = StepFunction(layer, batch_size=B, mode=get_mode("jax"))
    for _ in range(2):
        outputs = [step(values[:, t]) for t in range(4)]
        np.testing.assert_allclose(np.stack(outputs, axis=1), expected, rtol=0, atol=1e-10)
        assert np.any(np.asarray(step.states[layer].buckets.get_value()))
        step.reset()
    assert not np.any(np.asarray(step.states[layer].buckets.get_value()))


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("nearest", ["exact", "lsh"])
def test_no_step_copies_what_is_large(nearest):
    slots, width, steps = 4096, 16, 5
    layer = make_sam(num_reads=2, memory_shape=(slots, width), nearest=nearest)
    x = pt.tensor3("x")
    params = [p for p in layer.get_params(trainable=True) if p is not layer.memory.memory_init]
    grads = pytensor.grad(layer.get_output_for(x).sum(), params)
    function = pytensor.function([x], grads, mode=get_mode("jax"))
    arguments = [data(1, steps, F), *(storage[0] for storage in function.vm.inputs[1:])]
    text = function.vm.jit_fn.lower(*arguments).compile().as_text()
    loops, _ = text.split("\nENTRY ")
    copied = re.findall(r"= (\w+)\[([\d,]+)\]\S* copy(?:-start)?\(", loops)
    sizes = [np.prod([int(length) for length in shape.split(",")]) for _, shape in copied]
    assert " while(" in text
    assert max(sizes, default=0) < slots


# ---- Construction


@pytest.mark.slow
@pytest.mark.parametrize("nearest", ["lsh", "given"])
def test_saving_and_loading(tmp_path, nearest):
    layer = SAMLayer(
        InputLayer((None, None, F)),
        MEMORY_SHAPE,
        lambda l: GRUController(l, num_units=H),
        num_reads=2,
        num_read_slots=2,
        nearest=make_index(num_tables=3, name="some") if nearest == "given" else nearest,
    )
    randomize(layer)
    save(tmp_path / "some.network", layer)
    other = load(tmp_path / "some.network")
    assert type(other.search) is HyperplaneIndex
    assert other.search.num_tables == layer.search.num_tables
    values = [each.search.hyperplanes.get_value() for each in (layer, other)]
    np.testing.assert_array_equal(*values)
    x = pt.tensor3()
    outputs = to_jax([x], [layer.get_output_for(x), other.get_output_for(x)])(data(B, 6, F))
    np.testing.assert_array_equal(*outputs)


def test_what_nearest_stands_for():
    l_in = InputLayer((None, None, F))
    make = partial(SAMLayer, l_in, controller=lambda l: GRUController(l, num_units=H))
    assert isinstance(make(memory=(64, 2), nearest="auto").search, ExactSearch)
    layer = make(memory=(2**15, 2), nearest="auto")
    assert isinstance(layer.search, HyperplaneIndex)
    assert layer.search.hyperplanes in get_all_params(layer)
    assert layer.search.hyperplanes not in get_all_params(layer, trainable=True)
    state = make(memory=(64, 2)).make_state_variables()
    assert type(state) is SAMState
    with pytest.raises(TypeError, match="must be of type IndexedSAMState, not SAMState"):
        layer.get_output_for(pt.tensor3(), state=state)


ERRORS = {
    "tables": ({"num_tables": 0}, ["num_tables", "at least 1", "0"]),
    "bits": ({"num_bits": 25}, ["num_bits", "from 1 to 24", "25"]),
    "flips": ({"num_flips": 3}, ["num_flips", "from 0 to 2", "3"]),
    "size": ({"bucket_size": 1.5}, ["bucket_size", "1.5"]),
    "recent": ({"num_recent": True}, ["num_recent", "True"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_of_the_index(case):
    options, parts = ERRORS[case]
    with pytest.raises(ValueError, match="HyperplaneIndex 'mine'") as caught:
        make_index(name="mine", **options)
    for part in parts:
        assert part in str(caught.value)


def test_errors_of_the_layer():
    with pytest.raises(ValueError, match=r"SAMLayer 'my sam': nearest must be 'exact'.*'kd'"):
        make_sam(nearest="kd", name="my sam")
    index = HyperplaneIndex((8, 3), name="index")
    with pytest.raises(
        ValueError, match=r"HyperplaneIndex 'index' was made for .*\(8, 3\).*\(6, 3\)"
    ):
        make_sam(nearest=index)
    with pytest.raises(TypeError, match="'num_table'"):
        HyperplaneIndex(MEMORY_SHAPE, num_table=2)
