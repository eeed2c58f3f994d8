import ast
import inspect
import json
import sys
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ntm.tasks
import ntm.tasks.measures
from ntm.tasks import TASKS, Batch, CopyTask, DynamicNGramsTask, RepeatCopyTask, Task

from .samples import SEEDS

BIT_GENERATORS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]


def assert_equal(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


class ParityTask(Task):
    """Whether the number of ones so far is odd; the docstring's example."""

    def __init__(self, min_length=1, max_length=8, batch_size=1, seed=None):
        super().__init__(1, 1, {"length": (min_length, max_length)}, batch_size, seed)

    def num_steps(self, length):
        return length

    def make(self, rng, length):
        bits = rng.integers(0, 2, (length, 1))
        return bits, np.cumsum(bits, axis=0) % 2, np.ones(length)


class RecallTask(Task):
    """One of three symbols is to be named at once: classes, and no sizes."""

    output = "classes"

    def __init__(self, batch_size=1, seed=None):
        super().__init__(3, 3, {}, batch_size, seed)

    def num_steps(self):
        return 4

    def make(self, rng):
        symbols = np.eye(3)[rng.integers(0, 3, 4)]
        return symbols, symbols, np.array([0.5, 1, 1, 0])


# ---- A task of one's own


@given(SEEDS, st.integers(1, 4))
def test_own_task(seed, batch_size):
    task = ParityTask(batch_size=batch_size, seed=seed)
    assert (task.num_inputs, task.num_outputs, task.longest) == (1, 1, 8)
    inputs, targets, mask = next(iter(task))
    assert len(inputs) == batch_size
    for x, y, m in zip(inputs, targets, mask, strict=True):
        length = int(m.sum())
        assert 1 <= length <= 8
        np.testing.assert_array_equal(m, np.arange(len(m)) < length)
        for t in range(length):
            assert y[t, 0] == sum(x[: t + 1, 0]) % 2
        assert not x[length:].any()
        assert not y[length:].any()
    assert task.measure(targets, Batch(inputs, targets, mask))["correct"].all()


def test_the_docstring_has_that_task():
    """Its methods are the ones above, so that they are known to work."""
    lines = inspect.getsource(ParityTask).splitlines()
    methods = "\n".join(line for line in lines[2:])
    example = inspect.cleandoc(Task.__doc__).split("class ParityTask(Task):\n")[1]
    assert inspect.cleandoc(methods) in inspect.cleandoc(example.split("\n\nIterating")[0])


def test_own_task_of_classes_without_sizes():
    task = RecallTask(batch_size=5, seed=0)
    batch = next(task)
    assert batch.inputs.shape == (5, 4, 3)
    assert task.longest == 4
    np.testing.assert_array_equal(batch.mask, [[0.5, 1, 1, 0]] * 5)
    assert task.measures == ("bits", "wrong", "correct")
    measured = task.measure(np.full((5, 4, 3), 1 / 3), batch)
    np.testing.assert_allclose(measured["bits"], 2.5 * np.log2(3))
    shifted = np.roll(batch.targets, 1, axis=2)
    np.testing.assert_array_equal(task.measure(shifted, batch)["wrong"], 3)
    with pytest.raises(ValueError, match=r"RecallTask: a sequence takes 4 steps, more than .* = 3"):
        task.sample(num_steps=3)
    with pytest.raises(
        TypeError, match="RecallTask: there is no size 'length'; the sizes are: none"
    ):
        task.sample(length=3)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            (np.zeros((3, 2)), np.zeros((3, 1)), np.zeros(3)),
            r"inputs of shape \(3, 2\), not \(3, 1\)",
        ),
        ((np.zeros((3, 1)), np.zeros(3), np.zeros(3)), r"targets of shape \(3,\), not \(3, 1\)"),
        ((np.zeros((3, 1)), np.zeros((3, 1)), 1.0), r"weights of shape \(\), not \(3,\)"),
        (
            (np.zeros((2, 1)), np.zeros((2, 1)), np.zeros(2)),
            r"inputs of shape \(2, 1\), not \(3, 1\)",
        ),
    ],
)
def test_own_task_that_makes_other_shapes(made, message):
    task = ParityTask()
    task.make = lambda rng, length: made
    with pytest.raises(ValueError, match=f"ParityTask: make gave {message}"):
        task.sample(length=3)


@pytest.mark.parametrize(
    ("made", "given"),
    [
        ((np.zeros((3, 1)), np.zeros((3, 1))), "2"),
        ((np.zeros((3, 1)),) * 4, "4"),
        (np.zeros((3, 1)), "ndarray"),
        (None, "NoneType"),
    ],
)
def test_own_task_that_makes_other_things(made, given):
    task = ParityTask()
    task.make = lambda rng, length: made
    message = rf"ParityTask: make must give three arrays, inputs, targets and weights, not {given}$"
    with pytest.raises(ValueError, match=message):
        task.sample(length=3)


def test_own_task_without_methods():
    task = Task(1, 1, {"length": (1, 2)})
    with pytest.raises(NotImplementedError, match="Task must have a method num_steps"):
        task.sample()
    task.num_steps = lambda length: length
    with pytest.raises(NotImplementedError, match="Task must have a method make"):
        task.sample()


def test_own_task_of_unknown_output_or_measure():
    class Letters(ParityTask):
        output = "letters"

    class Numbers(ParityTask):
        output = "numbers"

    with pytest.raises(
        ValueError,
        match="Letters: output must be one of bits, classes, digits, numbers, not 'letters'",
    ):
        Letters()
    with pytest.raises(
        ValueError,
        match="Numbers: solved must name one of its measures, error, correct, not 'bits'",
    ):
        Numbers()


# ---- What holds for every task


def test_names():
    assert set(TASKS) == {
        "copy",
        "reversed-copy",
        "upside-down-copy",
        "repeat-copy",
        "associative-recall",
        "dynamic-ngrams",
        "priority-sort",
        "sort",
        "dyck-words",
        "addition",
        "argmax",
        "graph-traversal",
        "shortest-path",
    }
    assert sorted(
        [*(task.__name__ for task in TASKS.values()), "TASKS", "Batch", "Task"]
    ) == sorted(ntm.tasks.__all__)


def test_tasks_stand_on_numpy_alone():
    for path in [Path(ntm.tasks.measures.__file__), *Path(ntm.tasks.__file__).parent.glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                package = module.split(".")[0]
                ours = module == "ntm.tasks.measures" or module.startswith("ntm.tasks.")
                assert ours or package in {"numpy", *sys.stdlib_module_names}, (path, module)


@pytest.mark.parametrize("name", TASKS)
class TestEveryTask:
    @given(seed=SEEDS, batch_size=st.integers(1, 4))
    def test_batches(self, name, seed, batch_size):
        task = TASKS[name](batch_size=batch_size, seed=seed)
        inputs, targets, mask = next(task)
        assert inputs.shape == (*mask.shape, task.num_inputs)
        assert targets.shape == (*mask.shape, task.num_outputs)
        assert len(mask) == batch_size
        assert mask.shape[1] <= task.longest
        assert {array.dtype for array in (inputs, targets, mask)} == {np.dtype("float32")}
        assert mask.any(axis=1).all()
        assert task.output in ("bits", "digits", "numbers")
        if task.output != "numbers":
            assert np.isin(targets, (0, 1)).all()
        if task.output == "digits":
            assert (targets[mask != 0].reshape(-1, 10).sum(axis=1) == 1).all()

    @given(seed=SEEDS, padding=st.integers(1, 9))
    def test_padding_changes_nothing_before_it(self, name, seed, padding):
        batch = TASKS[name](batch_size=3, seed=seed).sample()
        steps = batch.mask.shape[1]
        padded = TASKS[name](batch_size=3, seed=seed).sample(num_steps=steps + padding)
        assert padded.mask.shape == (3, steps + padding)
        for array, longer in zip(batch, padded, strict=True):
            np.testing.assert_array_equal(longer[:, :steps], array)
            assert not longer[:, steps:].any()

    @pytest.mark.slow
    @given(seed=SEEDS)
    def test_seeds(self, name, seed):
        one, two = (list(islice(TASKS[name](batch_size=2, seed=seed), 3)) for _ in range(2))
        for a, b in zip(one, two, strict=True):
            assert_equal(a, b)

    @pytest.mark.slow
    def test_other_seeds_give_other_sequences(self, name):
        inputs = [TASKS[name](seed=seed).sample(20).inputs for seed in (0, 1, None, None, [0, 1])]
        inputs += [
            batch.inputs
            for batch in islice(TASKS[name](seed=np.random.default_rng(2), batch_size=20), 3)
        ]
        for k, one in enumerate(inputs):
            assert not any(np.array_equal(one, other) for other in inputs[:k])

    @pytest.mark.slow
    @given(seed=SEEDS, before=st.integers(0, 3))
    def test_state(self, name, seed, before):
        task = TASKS[name](batch_size=2, seed=seed)
        for _ in range(before):
            next(task)
        state = json.loads(json.dumps(task.get_state()))
        expected = list(islice(task, 2))
        other = TASKS[name](batch_size=2, seed=seed + 1)
        for continued in (task, other):
            continued.set_state(state)
            for batch, following in zip(islice(continued, 2), expected, strict=True):
                assert_equal(batch, following)

    def test_signature(self, name):
        parameters = inspect.signature(TASKS[name]).parameters
        assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters.values())
        assert list(parameters)[-2:] == ["batch_size", "seed"]
        task = TASKS[name]()
        assert task.batch_size == parameters["batch_size"].default == 1
        for size, (low, high) in task.sizes.items():
            assert (low, high) == (
                parameters[f"min_{size}"].default,
                parameters[f"max_{size}"].default,
            )
            narrow = TASKS[name](**{f"min_{size}": high, f"max_{size}": high + 1})
            assert narrow.sizes == {**task.sizes, size: (high, high + 1)}

    def test_documented(self, name):
        doc = inspect.getdoc(TASKS[name])
        assert "References\n----------\n" in doc
        assert "\n    mask  " in doc  # the drawing

    def test_numbers_that_cannot_be(self, name):
        task = TASKS[name]
        label = task.__name__
        for option in inspect.signature(task).parameters:
            if option in ("seed", "unary"):
                continue
            with pytest.raises(
                ValueError, match=rf"^{label}: {option} must be (positive|at least \d+), not 0"
            ):
                task(**{option: 0})
            for wrong in (2.0, "3", True, None, np.float64(2)):
                with pytest.raises(
                    ValueError, match=f"^{label}: {option} must be an integer, not "
                ):
                    task(**{option: wrong})
        for size, (_, high) in task().sizes.items():
            message = f"^{label}: min_{size} = {high + 3} is above max_{size} = {high + 2}"
            with pytest.raises(ValueError, match=message):
                task(**{f"min_{size}": high + 3, f"max_{size}": high + 2})
            with pytest.raises(ValueError, match=f"^{label}: {size} must be (positive|at least)"):
                task().sample(**{size: 0})

    def test_measures_at_best_at_worst_and_of_no_numbers(self, name):
        task = TASKS[name](batch_size=8, seed=0)
        batch = next(task)
        counted = (batch.mask != 0).sum(axis=1) * task.num_outputs
        best = task.measure(batch.targets, batch)
        worst = task.measure(1 - batch.targets, batch)
        nothing = task.measure(np.full_like(batch.targets, np.nan), batch)
        for measured in (best, worst, nothing):
            assert tuple(measured) == task.measures
            assert {values.shape for values in measured.values()} == {(8,)}
            assert {values.dtype for values in measured.values()} == {np.dtype("float64")}
        np.testing.assert_array_equal(best["correct"], 1)
        np.testing.assert_array_equal(worst["correct"], 0)
        np.testing.assert_array_equal(nothing["correct"], 0)
        solved, threshold = task.solved
        assert best[solved].mean() < threshold
        assert worst[solved].mean() > threshold
        np.testing.assert_array_equal(nothing[solved], np.inf)
        if task.output == "bits":
            np.testing.assert_array_equal(worst["wrong_bits"], counted)
            np.testing.assert_array_equal(nothing["wrong_bits"], counted)
            chance = task.measure(np.full_like(batch.targets, 0.5), batch)
            np.testing.assert_allclose(chance["bits"], counted)
            assert chance[solved].mean() > threshold


# ---- What `Task` does, on the tasks where it is easily seen


def test_what_is_drawn_from_a_seed():
    """Lengths first, then the bits of one sequence after the other: results that are reported rest on it."""
    batch = CopyTask(size=3, min_length=2, max_length=9, batch_size=4, seed=5).sample()
    rng = np.random.default_rng(5)
    lengths = rng.integers(2, 10, 4)
    for x, n in zip(batch.inputs, lengths, strict=True):
        np.testing.assert_array_equal(x[:n, :3], rng.integers(0, 2, (n, 3)))
        assert x[n, 3] == 1


def test_generator_as_seed():
    rng = np.random.default_rng(3)
    task = CopyTask(seed=rng)
    assert task.rng is rng
    assert_equal(task.sample(length=5), CopyTask(seed=3).sample(length=5))


@pytest.mark.parametrize("name", TASKS)
def test_a_generator_for_a_batch_leaves_the_task_as_it_is(name):
    task = TASKS[name](seed=0)
    before = task.get_state()
    batch = task.sample(2, rng=np.random.default_rng(5))
    assert task.get_state() == before
    assert_equal(batch, TASKS[name](seed=5).sample(2))


def test_what_is_no_generator():
    with pytest.raises(ValueError, match=r"CopyTask: rng must be a numpy.random.Generator, not 5"):
        CopyTask().sample(rng=5)


def test_how_many_items_a_network_has_to_keep():
    """Of the tasks that know."""
    sizes = {
        "copy": ({"length": 20}, 20),
        "reversed-copy": ({"length": 7}, 7),
        "upside-down-copy": ({"length": 7}, 7),
        "repeat-copy": ({"length": 5, "repeats": 9}, 5),
        "associative-recall": ({"item_length": 3, "items": 6}, 6),
        "priority-sort": ({"items": 20}, 16),
        "sort": ({"length": 4}, 4),
        "graph-traversal": ({"nodes": 10, "length": 3}, 20),
        "shortest-path": ({"nodes": 10, "length": 3}, 10),
    }
    for name, (each, expected) in sizes.items():
        assert TASKS[name]().count_items(**each) == expected, name
    for name in TASKS.keys() - sizes.keys():
        task = TASKS[name]()
        assert task.count_items(**task.largest_sizes) is None, name
    assert TASKS["graph-traversal"]().count_items(nodes=2, length=1) == 2
    for name in ("graph-traversal", "shortest-path"):
        task = TASKS[name](min_degree=1, max_degree=1, min_length=1, max_length=1, seed=0)
        inputs = task.sample(nodes=5, length=1).inputs[0]
        edges = inputs[: inputs[:, 90].argmax()]  # up to the next phase
        assert task.count_items(nodes=5, length=1) == len(edges) == 5


def test_sequences_before_do_not_depend_on_those_after():
    one = CopyTask(seed=0).sample(3, length=[4, 5, 6])
    two = CopyTask(seed=0).sample(3, length=[4, 5, 9])
    assert_equal([array[:2] for array in one], [array[:2, :14] for array in two])


def test_sizes_are_drawn_uniformly_and_independently():
    task = RepeatCopyTask(1, 2, 4, 3, 4, batch_size=3000, seed=0)
    inputs, _, mask = next(task)
    lengths = inputs[:, :, -1].argmax(axis=1) - 1
    repeats = (mask.sum(axis=1) - 1) / lengths
    pairs, counts = np.unique(np.stack([lengths, repeats], axis=1), axis=0, return_counts=True)
    assert pairs.tolist() == [[2, 3], [2, 4], [3, 3], [3, 4], [4, 3], [4, 4]]
    assert counts.min() > 400
    assert counts.max() < 600


def test_some_sizes_given_and_others_drawn():
    task = RepeatCopyTask(size=1, min_length=2, max_length=3, batch_size=50, seed=0)
    inputs, _, mask = task.sample(repeats=4)
    lengths = inputs[:, :, -1].argmax(axis=1) - 1
    assert set(lengths) == {2, 3}
    np.testing.assert_array_equal(mask.sum(axis=1), 4 * lengths + 1)


def test_sizes_beyond_the_range_and_of_any_integer_type():
    task = CopyTask(max_length=3, seed=0)
    for length in (9, np.int32(9), np.array(9), [9], np.array([9], np.uint8)):
        batch = task.sample(length=length)
        assert batch.inputs.shape == (1, 20, 9)
        assert batch.mask.sum() == 9
    assert task.sample(3, length=9).mask.sum() == 27


def test_longest():
    assert CopyTask(max_length=7).longest == CopyTask().num_steps(7) == 16
    assert RepeatCopyTask(max_length=7, max_repeats=3).longest == 7 + 1 + 1 + 21 + 1
    assert RepeatCopyTask(max_length=7, max_repeats=3, unary=True).longest == 7 + 3 + 1 + 21 + 1


def test_narrower_sizes_from_now_on():
    task = CopyTask(seed=0)
    task.sizes["length"] = (2, 3)
    assert task.longest == 8
    assert set(task.sample(50).mask.sum(axis=1)) == {2, 3}


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ({"lenght": 3}, TypeError, "there is no size 'lenght'; did you mean 'length'?"),
        ({"depth": 3}, TypeError, "there is no size 'depth'; the sizes are: length, repeats"),
        ({"length": 2.0}, ValueError, "length must be an integer or an array of integers, not 2.0"),
        (
            {"length": True},
            ValueError,
            "length must be an integer or an array of integers, not True",
        ),
        ({"length": "3"}, ValueError, "length must be an integer or an array of integers, not '3'"),
        ({"length": [1, 2]}, ValueError, r"length .* of shape \(3,\), .* not of shape \(2,\)"),
        ({"length": [[1], [2], [3]]}, ValueError, r"length .* not of shape \(3, 1\)"),
        ({"length": [4]}, ValueError, r"length .* not of shape \(1,\)"),
        ({"repeats": [3, 0, 2]}, ValueError, "repeats must be positive, not 0"),
        ({"length": -2}, ValueError, "length must be positive, not -2"),
        ({"batch_size": 0}, ValueError, "batch_size must be positive, not 0"),
        ({"batch_size": 1.5}, ValueError, "batch_size must be an integer, not 1.5"),
        ({"num_steps": 1.5}, ValueError, "num_steps must be an integer, not 1.5"),
        (
            {"length": [2, 3, 1], "repeats": 2, "num_steps": 11},
            ValueError,
            "length = 3 and repeats = 2 takes 12 steps, more than num_steps = 11",
        ),
    ],
)
def test_samples_that_cannot_be(sizes, error, message):
    with pytest.raises(error, match=f"^RepeatCopyTask: {message}"):
        RepeatCopyTask(batch_size=3).sample(**sizes)


@pytest.mark.parametrize("kind", BIT_GENERATORS)
def test_state_of_any_generator(kind):
    task = CopyTask(seed=np.random.Generator(getattr(np.random, kind)(3)))
    next(task)
    state = json.loads(json.dumps(task.get_state()))
    expected = list(islice(task, 3))
    for seed in [
        0,
        *(np.random.Generator(getattr(np.random, other)(4)) for other in BIT_GENERATORS),
    ]:
        continued = CopyTask(seed=seed)
        continued.set_state(state)
        for batch, following in zip(islice(continued, 3), expected, strict=True):
            assert_equal(batch, following)


def test_state_is_taken_when_it_is_asked_for():
    task = CopyTask(seed=0)
    states = []
    for _ in range(3):
        states.append(task.get_state())
        task.sample(length=3)
    assert all(one != two for one, two in pairwise(states))


@pytest.mark.parametrize(
    "state",
    [
        None,
        3,
        {},
        {"bit_generator": "PCG64"},
        {"bit_generator": "MT2"},
        {"bit_generator": "SFC64", "state": 1},
    ],
)
def test_states_that_are_none(state):
    with pytest.raises(ValueError, match=r"^CopyTask: .* is not the state of a random generator"):
        CopyTask().set_state(state)


# ---- Padding to a few lengths


def test_random_lengths_fall_into_four_buckets():
    task = CopyTask(max_length=20, batch_size=2, seed=0)
    lengths = set()
    for length in range(1, 21):
        batch = task.sample(length=length)
        padded = batch.pad_to_bucket(task.longest)
        steps = padded.mask.shape[1]
        lengths.add(steps)
        assert padded.inputs.shape == padded.targets.shape == (2, steps, 9)
        for array, before in zip(padded, batch, strict=True):
            np.testing.assert_array_equal(array[:, : before.shape[1]], before)
            assert not array[:, before.shape[1] :].any()
    assert lengths == {11, 21, 32, 42}
    assert task.sample(length=20).pad_to_bucket(task.longest, 1).mask.shape == (2, task.longest)


def test_buckets_that_do_not_fit():
    batch = CopyTask(seed=0).sample(length=5)
    with pytest.raises(ValueError, match="12 steps, more than longest = 11"):
        batch.pad_to_bucket(11)
    with pytest.raises(ValueError, match="num_buckets must be positive, not 0"):
        batch.pad_to_bucket(12, 0)


def test_what_a_task_adds_to_the_measures():
    assert CopyTask().measures == ("bits", "wrong_bits", "correct")
    assert DynamicNGramsTask().measures == ("bits", "wrong_bits", "correct", "excess_bits", "ratio")


# ---- Errors


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True, [1, -2]])
def test_seeds_that_are_none(seed):
    with pytest.raises(
        ValueError, match=r"^CopyTask: seed must be an integer that is not negative"
    ):
        CopyTask(seed=seed)


def test_truth_values_and_ranges_that_are_none():
    with pytest.raises(ValueError, match="RepeatCopyTask: unary must be True or False, not 'no'"):
        RepeatCopyTask(unary="no")
    message = r"ParityTask: length must range over a pair \(lowest, highest\), not 8"
    with pytest.raises(ValueError, match=message):
        Task.__init__(ParityTask(), 1, 1, {"length": 8})


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (0, "make gave inputs that are not finite"),
        (1, r"make: targets must be finite where they count, but in sequence 0 at step 1 .*nan"),
        (2, r"make: weights must be finite where they count, but in sequence 0 at step 1 .*nan"),
    ],
)
def test_numbers_of_an_own_task_that_are_not_finite(place, message):
    class Unfinished(ParityTask):
        def make(self, rng, length):
            parts = [np.array(part, float) for part in super().make(rng, length)]
            parts[place][1] = np.nan
            return tuple(parts)

    with pytest.raises(ValueError, match=f"^Unfinished: {message}"):
        Unfinished(seed=0).sample(length=3)


def test_targets_of_an_own_task_may_be_unknown_where_they_do_not_count():
    class Partial(ParityTask):
        def make(self, rng, length):
            bits, targets, weights = super().make(rng, length)
            weights[0] = 0.0
            return bits, np.where(weights[:, None] == 0, np.nan, targets), weights

    assert np.isnan(Partial(seed=0).sample(length=3).targets[0]).ravel().tolist() == [1, 0, 0]


def test_steps_of_an_own_task_that_are_no_number():
    class Halves(ParityTask):
        def num_steps(self, length):
            return length / 2

    with pytest.raises(
        ValueError, match=r"Halves: num_steps\(\.\.\.\) must be an integer, not 1\.5"
    ):
        Halves(seed=0).sample(length=3)


def test_sizes_that_are_not_given_are_the_largest():
    task = RepeatCopyTask(max_length=7, max_repeats=3)
    assert task.complete_sizes({"length": 20}) == {"length": 20, "repeats": 3}
    with pytest.raises(TypeError, match="RepeatCopyTask: there is no size 'lenght'; did you mean"):
        task.complete_sizes({"lenght": 3})
    with pytest.raises(ValueError, match="RepeatCopyTask: repeats must be positive, not 0"):
        task.complete_sizes({"repeats": 0})
