import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from ntm.tasks import TASKS
from ntm.traces import HeadTrace, Trace
from ntm.visualization import COLUMN_WIDTH, FULL_WIDTH, plot_sequence
from ntm.visualization.style import RIGHT, WRONG

from .figures import (
    check_layout,
    get_image,
    get_lines,
    get_marks,
    get_panels,
    get_shaded,
    get_texts,
)

T, F, OUT, N = 7, 3, 2, 20
SEQUENCE = {
    "inputs": np.random.default_rng(0).integers(0, 2, (T, F)),
    "targets": np.random.default_rng(1).integers(0, 2, (T, OUT)),
    "predictions": np.random.default_rng(2).random((T, OUT)),
}
MASK = np.array([0, 0, 0, 1, 1, 0.5, 0])
COUNTED = [3, 4, 5]


def one_hot_weights(*slots):
    """Weights (T, heads, N) on the slots (T,) of each head."""
    return np.stack([np.eye(N)[each] for each in slots], axis=1)


def draw(kind, targets, predictions, inputs=None, **options):
    """Return the panels of a sequence of a kind."""
    inputs = np.zeros((len(targets), F)) if inputs is None else inputs
    return get_panels(plot_sequence(inputs, targets, predictions, kind=kind, **options))


def one_hot(classes, count):
    return np.eye(count)[classes]


# ---- Bits


def test_images_show_the_arrays():
    panels = get_panels(plot_sequence(**SEQUENCE))
    assert list(panels) == ["input", "target", "prediction"]
    for axes, values in zip(panels.values(), SEQUENCE.values(), strict=True):
        shown, rows = get_image(axes)
        np.testing.assert_array_equal(shown, values)
        np.testing.assert_array_equal(rows, range(values.shape[1]))
        assert axes.get_images()[0].get_clim() == (0, 1)
        assert axes.get_xlim() == (-0.5, T - 0.5)


def test_only_the_last_panel_names_the_time_steps():
    figure = plot_sequence(**SEQUENCE, title="a title")
    *others, last = get_panels(figure).values()
    assert last.get_xlabel() == "time step"
    assert all(not axes.get_xlabel() for axes in others)
    assert figure.get_suptitle() == "a title"


def test_steps_that_do_not_count_are_masked_and_not_zero():
    before = SEQUENCE["predictions"].copy()
    panels = get_panels(plot_sequence(**SEQUENCE, mask=MASK))
    for name, values in (("target", SEQUENCE["targets"]), ("prediction", before)):
        shown, _ = get_image(panels[name])
        np.testing.assert_array_equal(shown[MASK == 0], np.nan)
        np.testing.assert_array_equal(shown[MASK != 0], values[MASK != 0])
        assert get_shaded(panels[name]) == [(-0.5, 2.5), (5.5, 6.5)]
    assert get_shaded(panels["input"]) == []
    np.testing.assert_array_equal(SEQUENCE["predictions"], before)


def test_wrong_bits_and_steps_are_marked():
    targets = np.zeros((T, OUT))
    predictions = np.full((T, OUT), 0.2)
    predictions[4, 1] = predictions[1, 0] = 0.8  # Step 1 does not count
    predictions[5, 0] = np.nan
    figure = plot_sequence(SEQUENCE["inputs"], targets, predictions, mask=MASK)
    axes = get_panels(figure)["prediction"]
    assert axes.get_title(loc="left") == "prediction: 2 of 3 steps wrong (3 bits)"
    crosses = get_marks(axes, "x")
    inside = crosses[crosses[:, 1] >= 0]
    assert sorted(map(tuple, inside.tolist())) == [(4, 1), (5, 0), (5, 1)]
    assert sorted(crosses[crosses[:, 1] < 0][:, 0]) == [4, 5]
    dots = get_marks(axes, "o")
    assert dots[:, 0].tolist() == [3]
    assert axes.get_ylim()[1] < dots[0, 1] < -0.5, "above the image"
    colors = {line.get_marker(): line.get_color() for line in axes.lines}
    assert colors == {"x": WRONG, "o": RIGHT}


def test_channels_are_named_where_there_is_room():
    panels = get_panels(plot_sequence(np.zeros((T, 9)), np.zeros((T, 3)), np.zeros((T, 3))))
    assert panels["input"].get_ylabel() == "channel"
    assert panels["target"].get_ylabel() == ""


def test_channels_have_whole_numbers_and_names():
    figure = plot_sequence(
        np.zeros((T, 9)), np.zeros((T, 2)), np.zeros((T, 2)), input_names={8: "marker"}
    )
    axes = get_panels(figure)["input"]
    labels = dict(zip(axes.get_yticks(), axes.get_yticklabels(), strict=True))
    assert {place: label.get_text() for place, label in labels.items()} == {0: "0", 8: "marker"}
    ticks = get_panels(figure)["target"].get_yticks()
    assert ticks.tolist() == [0, 1]


def test_names_that_would_overlap_are_left_out():
    names = {90: "new phase", 91: "answer"}
    figure = plot_sequence(np.zeros((T, 92)), np.zeros((T, 2)), np.zeros((T, 2)), input_names=names)
    labels = [label.get_text() for label in get_panels(figure)["input"].get_yticklabels()]
    assert labels == ["0", "new phase"] or labels == ["new phase", "0"]


def test_best_predictions_have_a_panel():
    best = np.random.default_rng(3).random((T, OUT))
    panels = get_panels(plot_sequence(**SEQUENCE, best=best))
    assert list(panels) == ["input", "target", "prediction", "best possible prediction"]
    np.testing.assert_array_equal(get_image(panels["best possible prediction"])[0], best)


# ---- Inputs


def test_inputs_beyond_bits_have_a_scale_of_their_own():
    inputs = np.zeros((T, 6))
    inputs[2, 1], inputs[3, 5], inputs[4, 5] = 1.0, -0.7, 0.3
    panels = draw("bits", np.zeros((T, 1)), np.zeros((T, 1)), inputs, input_names={5: "priority"})
    shown, _ = get_image(panels["input"])
    np.testing.assert_array_equal(shown, inputs[:, :5])
    assert get_marks(panels["input: priority"], "o").tolist() == [[3, -0.7], [4, 0.3]]


def test_numbers_are_no_bits_where_one_is_nan():
    inputs = np.zeros((5, 6))
    inputs[:, 3] = [7, -2, np.nan, 0, 1]
    panels = get_panels(plot_sequence(inputs, np.zeros((5, 1)), np.zeros((5, 1))))
    assert get_image(panels["input"])[0].shape == (5, 5)
    assert panels["input: channel 3"].dataLim.y1 == 7


def test_numbers_as_inputs_are_lines():
    inputs = np.random.default_rng(4).normal(20.0, 3.0, (T, 2))
    panels = draw("numbers", np.zeros((T, 1)), np.zeros((T, 1)), inputs)
    lines = get_lines(panels["input"])
    for k in range(2):
        np.testing.assert_array_equal(lines[f"channel {k}"][:, 1], inputs[:, k])
    low, high = panels["input"].get_ylim()
    assert 0 < low < inputs.min()
    assert high > inputs.max()


def test_legends_do_not_cover_titles():
    inputs = np.random.default_rng(4).normal(20.0, 3.0, (T, 4))
    for width in (COLUMN_WIDTH, FULL_WIDTH):
        figure = plot_sequence(inputs, SEQUENCE["targets"], SEQUENCE["predictions"], width=width)
        check_layout(figure)
        (axes,) = (axes for axes in figure.axes if axes.get_legend())
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        assert texts == [f"channel {k}" for k in range(4)]


def test_many_numbers_as_inputs_are_an_image_with_their_scale():
    inputs = np.random.default_rng(4).normal(0.0, 3.0, (T, 12))
    figure = plot_sequence(inputs, np.zeros((T, 1)), np.zeros((T, 1)))
    (axes,) = (axes for axes in figure.axes if axes.get_title("left").startswith("input"))
    np.testing.assert_array_equal(get_image(axes)[0], inputs)
    most = np.abs(inputs).max()
    assert axes.get_images()[0].get_clim() == (-most, most)


def test_several_inputs_have_panels():
    inputs = {"video": np.eye(T), "sound": np.ones((T, 2))}
    panels = draw("bits", np.zeros((T, 1)), np.zeros((T, 1)), inputs)
    np.testing.assert_array_equal(get_image(panels["input video"])[0], np.eye(T))
    np.testing.assert_array_equal(get_image(panels["input sound"])[0], np.ones((T, 2)))


def test_inputs_that_stand_for_something_are_texts():
    texts = ["a", "", "cat", "(", ")", "$x", "?"]
    panels = draw("bits", np.zeros((T, 1)), np.zeros((T, 1)), input_texts=texts)
    assert get_texts(panels["input"], 0) == {k: text for k, text in enumerate(texts) if text}


def test_texts_without_room_give_way_to_the_inputs():
    steps = 200
    inputs = np.eye(steps)[:, :5]
    texts = ["word"] * steps
    panels = draw("bits", np.zeros((steps, 1)), np.zeros((steps, 1)), inputs, input_texts=texts)
    np.testing.assert_array_equal(get_image(panels["input"])[0], inputs)


# ---- Numbers


def test_one_number_is_written():
    targets, predictions = np.zeros((T, 1)), np.full((T, 1), 9.0)
    targets[-1], predictions[-1] = 29, 28.7
    mask = np.eye(T)[-1]
    panels = draw("numbers", targets, predictions, mask=mask)
    assert get_texts(panels["answer"], 0) == {T - 1: "29"}
    assert get_texts(panels["answer"], 1) == {T - 1: "28.7"}
    assert panels["answer"].get_title(loc="left") == "answer: right"
    assert get_shaded(panels["answer"]) == [(-0.5, T - 1.5)]
    predictions[-1] = 28.4
    panels = draw("numbers", targets, predictions, mask=mask)
    assert panels["answer"].get_title(loc="left") == "answer: wrong"


def test_numbers_are_lines_with_their_values():
    targets = np.arange(T, dtype=float)[:, None] * 100
    predictions = targets + np.random.default_rng(0).normal(0, 0.2, (T, 1))
    axes = draw("numbers", targets, predictions, mask=MASK)["numbers"]
    lines = get_lines(axes)
    for name, values in (("target", targets), ("prediction", predictions)):
        np.testing.assert_array_equal(lines[name][:, 0], range(T))
        np.testing.assert_array_equal(lines[name][MASK == 0, 1], np.nan)
        np.testing.assert_array_equal(lines[name][MASK != 0, 1], values[MASK != 0, 0])
    low, high = axes.get_ylim()
    assert 200 < low < 300 < 500 < high < 600
    assert axes.get_title(loc="left") == "numbers: all 3 steps right"


def test_numbers_of_several_outputs():
    targets = np.random.default_rng(0).normal(0, 5, (T, 3))
    panels = draw("numbers", targets, targets + 1)
    for k in range(3):
        lines = get_lines(panels[f"output {k}"])
        np.testing.assert_array_equal(lines["target"][:, 1], targets[:, k])
        np.testing.assert_array_equal(lines["prediction"][:, 1], targets[:, k] + 1)
    assert all("wrong" not in axes.get_title("left") for axes in panels.values()), (
        "no whole targets"
    )


def test_numbers_of_many_outputs_share_a_scale():
    targets = np.random.default_rng(0).normal(0, 5, (T, 8))
    panels = draw("numbers", targets, 2 * targets)
    np.testing.assert_array_equal(get_image(panels["target"])[0], targets)
    np.testing.assert_array_equal(get_image(panels["prediction"])[0], 2 * targets)
    most = 2 * np.abs(targets).max()
    for name in ("target", "prediction"):
        assert panels[name].get_images()[0].get_clim() == (-most, most)


def test_numbers_of_a_whole_sequence_are_drawn_by_output():
    targets = np.random.default_rng(0).normal(0, 5, (T, 3))
    lines = get_lines(draw("numbers", targets, targets + 1, mask=np.eye(T)[-1])["answer"])
    np.testing.assert_array_equal(lines["target"], np.column_stack([range(3), targets[-1]]))
    np.testing.assert_array_equal(lines["prediction"][:, 1], targets[-1] + 1)


# ---- Classes and digits

CLASSES = np.array([0, 1, 2, 0, 1, 2, 0])
GUESSES = np.array([0, 0, 0, 0, 2, 2, 1])


def test_classes_are_written_by_name():
    names = ["cat", "dog", "cow"]
    panels = draw(
        "classes", one_hot(CLASSES, 3), one_hot(GUESSES, 3), mask=MASK, output_names=names
    )
    axes = panels["answer"]
    assert get_texts(axes, 0) == {3: "cat", 4: "dog", 5: "cow"}
    assert get_texts(axes, 1) == {3: "cat", 4: "cow", 5: "cow"}
    colors = {round(text.get_position()[0]): text.get_color() for text in axes.texts[3:]}
    assert colors == {3: RIGHT, 4: WRONG, 5: RIGHT}
    assert axes.get_title(loc="left") == "answer: 1 of 3 steps wrong"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["target", "prediction"]
    frames = [patch.get_x() for patch in axes.patches if patch.get_height() < 1]
    assert frames == [3.5], "only the wrong one has a frame"
    probabilities = panels["predicted probability of each class"]
    shown, _ = get_image(probabilities)
    np.testing.assert_array_equal(shown[COUNTED], one_hot(GUESSES, 3)[COUNTED])
    assert [label.get_text() for label in probabilities.get_yticklabels()] == names
    assert get_marks(probabilities, "s").tolist() == [[3, 0], [4, 1], [5, 2]]
    assert get_marks(probabilities, "x").tolist() == [[4, 2]]


def test_classes_without_names_have_numbers():
    panels = draw("classes", one_hot(CLASSES, 3), one_hot(GUESSES, 3))
    assert get_texts(panels["answer"], 0) == {k: str(each) for k, each in enumerate(CLASSES)}


def test_many_classes_over_many_steps_are_points():
    rng = np.random.default_rng(0)
    classes, guesses = rng.integers(100, 900, (2, 300))
    guesses[:150] = classes[:150]
    panels = draw("classes", one_hot(classes, 1000), one_hot(guesses, 1000))
    assert list(panels) == ["input", "answer: class"]
    assert get_marks(panels["answer: class"], "s")[:, 1].tolist() == classes.tolist()
    dots = get_marks(panels["answer: class"], "o")
    assert dots[:, 0].tolist() == list(range(150))


def test_one_class_for_a_sequence_is_bars():
    probabilities = np.full((T, 4), 0.25)
    probabilities[-1] = [0.1, 0.2, 0.6, 0.1]
    targets = one_hot(np.full(T, 1), 4)
    panels = draw(
        "classes", targets, probabilities, mask=np.eye(T)[-1], output_names=["a", "b", "c", "d"]
    )
    axes = panels["predicted probability of each class"]
    assert [bar.get_height() for bar in axes.patches] == [0.1, 0.2, 0.6, 0.1]
    assert [bool(bar.get_hatch()) for bar in axes.patches] == [False, True, False, False]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c", "d"]
    assert panels["answer"].get_title(loc="left") == "answer: wrong"


def one_hot_digits(numbers):
    """Encode numbers of two digits, (T, 20)."""
    return np.stack([np.concatenate([np.eye(10)[k // 10], np.eye(10)[k % 10]]) for k in numbers])


def test_digits_are_written():
    numbers, guesses = [12, 34, 56, 78, 90, 11, 22], [12, 34, 56, 78, 91, 11, 99]
    axes = draw("digits", one_hot_digits(numbers), one_hot_digits(guesses), mask=MASK)["answer"]
    assert get_texts(axes, 0) == {3: "78", 4: "90", 5: "11"}
    assert get_texts(axes, 1) == {3: "78", 4: "91", 5: "11"}
    assert axes.get_title(loc="left") == "answer: 1 of 3 steps wrong"


def test_digits_without_room_are_a_table():
    steps = 150
    numbers = np.arange(steps) % 100
    mask = np.arange(steps) >= steps - 3
    guesses = numbers.copy()
    guesses[-1] += 1
    axes = draw("digits", one_hot_digits(numbers), one_hot_digits(guesses), mask=mask)["answer"]
    cells = [text.get_text() for text in axes.texts]
    assert cells[:4] == ["step", "target", "prediction", ""]
    assert cells[4:] == ["147", "47", "47", "✓", "148", "48", "48", "✓", "149", "49", "50", "×"]


def test_spelling_is_the_callers():
    panels = draw(
        "digits",
        one_hot_digits([1] * T),
        one_hot_digits([2] * T),
        spell=lambda outputs: [f"<{k}>" for k in range(len(outputs))],
    )
    assert get_texts(panels["answer"], 1)[5] == "<5>"
    with pytest.raises(ValueError, match="spell must give a text for each of 7 steps, not 1 texts"):
        draw(
            "digits", one_hot_digits([1] * T), one_hot_digits([2] * T), spell=lambda outputs: ["a"]
        )


# ---- Weights


def test_a_panel_for_each_head():
    slots = np.array([5, 6, 7, 8, 8, 8, 8]), np.array([8, 8, 7, 6, 5, 5, 9]), np.full(T, 11)
    write, reads = one_hot_weights(slots[0]), one_hot_weights(*slots[1:])
    panels = get_panels(plot_sequence(**SEQUENCE, write_weights=write, read_weights=reads))
    assert list(panels)[3:] == ["write weights", "read 1 weights", "read 2 weights"]
    for axes, used in zip(list(panels.values())[3:], slots, strict=True):
        values, rows = get_image(axes)
        np.testing.assert_array_equal(rows[values.argmax(axis=1)], used)
        assert values.sum() == T
        assert (rows[0], rows[-1]) == (3, 13)
        margin = 0.025 * 11
        assert axes.get_ylim() == (13.5 + margin, 2.5 - margin)
        assert axes.get_ylabel() == "slot"
        assert axes.get_images()[0].get_clim() == (0, 1)


def test_slots_at_the_ends_are_shown():
    slots = np.array([0, 1, 2, N - 1, 10, 5, 15])
    values, rows = get_image(
        get_panels(plot_sequence(**SEQUENCE, write_weights=one_hot_weights(slots)))["write weights"]
    )
    np.testing.assert_array_equal(rows, range(N))
    np.testing.assert_array_equal(values, np.eye(N)[slots])


def test_a_range_around_the_end_of_the_memory():
    slots = np.array([N - 2, N - 1, 0, 1, 2, 1, 0])
    figure = plot_sequence(**SEQUENCE, write_weights=one_hot_weights(slots))
    axes = get_panels(figure)["write weights"]
    values, rows = get_image(axes)
    np.testing.assert_array_equal(rows, range(-4, 5))
    np.testing.assert_array_equal(rows[values.argmax(axis=1)] % N, slots)
    np.testing.assert_array_equal(values.max(axis=1), 1)
    labels = [int(label.get_text()) for label in axes.get_yticklabels()]
    np.testing.assert_array_equal(labels, axes.get_yticks() % N)


def test_all_slots_where_none_stands_out():
    panels = get_panels(plot_sequence(**SEQUENCE, write_weights=np.full((T, 1, N), 1 / N)))
    assert get_image(panels["write weights"])[0].shape == (T, N)


def make_head(name, used, positions=None):
    weights = np.roll(used, -1, axis=0)  # As in an NTM, whose weights are used one step later
    return HeadTrace(name, name.startswith("write"), weights, np.asarray(used, float), positions)


def make_trace(heads, num_slots, name="memory"):
    return Trace("SAM", name, num_slots, 4, heads)


def test_traces_show_the_weights_that_were_used():
    slots = np.arange(T), np.arange(T)[::-1] + 10
    heads = [
        make_head(name, np.eye(N)[each])
        for name, each in zip(("write", "read"), slots, strict=True)
    ]
    panels = get_panels(plot_sequence(**SEQUENCE, traces=[make_trace(heads, N)]))
    for name, used in zip(("write", "read"), slots, strict=True):
        values, rows = get_image(panels[f"{name} weights"])
        np.testing.assert_array_equal(rows[values.argmax(axis=1)], used)


def test_several_memories_are_named():
    traces = [make_trace([make_head("write", np.eye(N)[:T])], N, name) for name in ("low", "high")]
    assert list(get_panels(plot_sequence(**SEQUENCE, traces=traces)))[3:] == [
        "low: write weights",
        "high: write weights",
    ]


def test_sparse_heads_of_a_small_memory_have_their_slots():
    positions = np.array([[3, 9, 3]] * T)
    used = np.array([[0.25, 0.5, 0.25]] * T)
    trace = make_trace([make_head("read", used, positions)], N)
    values, rows = get_image(get_panels(plot_sequence(**SEQUENCE, traces=[trace]))["read weights"])
    np.testing.assert_array_equal(rows, range(1, 12))
    np.testing.assert_array_equal(values[:, [2, 8]], 0.5)
    assert values.sum() == T


def test_sparse_heads_of_a_million_slots_are_shown_by_first_use():
    slots = np.array([900_000, 17, 500_000, 17, 3, 900_000, 4])
    writes = np.stack([slots, np.full(T, 77)], axis=1)
    reads = np.stack([np.full(T, 88), slots[::-1]], axis=1)
    heads = [
        make_head("write", np.array([[1.0, 0.0]] * T), writes),
        make_head("read", np.array([[0.01, 0.6]] * T), reads),
    ]
    panels = get_panels(plot_sequence(**SEQUENCE, traces=[make_trace(heads, 1_000_000)]))
    order = [900_000, 4, 17, 500_000, 3]  # At each step the write head comes first
    for name, used, weight in (("write", slots, 1.0), ("read", slots[::-1], 0.6)):
        values, rows = get_image(panels[f"{name} weights"])
        assert values.shape == (T, len(order))
        assert [order[k] for k in values.argmax(axis=1)] == used.tolist()
        np.testing.assert_array_equal(values.max(axis=1), weight)
        assert panels[f"{name} weights"].get_ylabel() == "used slot"
        np.testing.assert_array_equal(rows, range(len(order)))


def test_more_slots_than_can_be_seen_share_rows():
    slots = 1001
    weights = np.zeros((T, 1, slots))
    for step in range(T):
        weights[step, 0, step * 150] = 0.9
    weights[-1, 0, -1] = 0.8
    panels = get_panels(plot_sequence(**SEQUENCE, write_weights=weights))
    values, _ = get_image(panels["write weights"])
    assert values.shape[1] <= 160
    np.testing.assert_array_equal(values.max(axis=1), 0.9)
    assert values[-1, -1] == 0.8
    margin = 0.025 * slots
    assert panels["write weights"].get_ylim() == (slots - 0.5 + margin, -0.5 - margin)


# ---- Figures


def test_given_figure_is_drawn_on():
    figure = plt.figure()
    assert plot_sequence(**SEQUENCE, figure=figure) is figure
    plt.close(figure)


def test_no_figure_of_pyplot_is_left_open():
    before = plt.get_fignums()
    assert isinstance(plot_sequence(**SEQUENCE), Figure)
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("targets", np.zeros((T - 1, OUT)), r"target must be of shape \(7, \.\.\.\), not \(6, 2\)"),
        ("predictions", np.zeros(T), r"prediction must be of shape .* not \(7,\)"),
        ("predictions", np.zeros((T, 3)), r"prediction must be of shape \(7, 2\), as target, not"),
        ("inputs", np.zeros((1, T, F)), r"input must be .* not \(1, 7, 3\)"),
        ("write_weights", np.zeros((T, N)), r"write weights must be .* not \(7, 20\)"),
        ("read_weights", np.zeros((T + 1, 1, N)), r"read weights must be .* not \(8, 20\)"),
        ("best", np.zeros((T, 1)), r"best prediction must be of shape \(7, 2\), as target, not"),
        ("mask", np.ones((T, 1)), r"mask must be of shape \(7,\), not \(7, 1\)"),
        (
            "kind",
            "bit",
            "unknown kind of targets 'bit': expected one of bits, classes, digits, num",
        ),
        ("kind", "digits", "digits' must have ten outputs for each digit, not 2 in all"),
        ("input_texts", ["a"], "input_texts must be 7 texts, not 1"),
        ("traces", [make_trace([make_head("read", np.eye(3))], 3)], "memory has 3 steps, .* 7"),
        ("width", 0.0, "width must be a positive number of inches, not 0.0"),
    ],
)
def test_arguments_that_do_not_fit(name, value, message):
    with pytest.raises(ValueError, match=message):
        plot_sequence(**{**SEQUENCE, name: value})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width"),
    [
        *((name, COLUMN_WIDTH) for name in TASKS if not name.endswith("-copy")),
        ("repeat-copy", COLUMN_WIDTH),
        ("graph-traversal", FULL_WIDTH),
        ("shortest-path", FULL_WIDTH),
    ],
)
def test_pictures_of_all_tasks_can_be_read(name, width):
    task = TASKS[name](seed=3)
    batch = task.sample(1, **task.largest_sizes)
    inputs, targets, mask = (array[0] for array in batch)
    weights = np.eye(130)[np.arange(len(inputs)) % 130][:, None]
    figure = plot_sequence(
        inputs,
        targets,
        targets,
        weights,
        mask=mask,
        kind=task.output,
        input_names=task.input_names,
        output_names=task.output_names,
        input_texts=task.spell_inputs(inputs),
        spell=task.spell_outputs if task.output == "digits" else None,
        width=width,
        title=name,
    )
    check_layout(figure)


# ---- Numbers of classes

LABELS = np.array([2, 0, 1, 1, 2, 0, 1])
SHARES = np.random.default_rng(3).dirichlet(np.ones(3), T)


@pytest.mark.parametrize("targets", [LABELS, LABELS[:, None], np.where(MASK == 0, -1, LABELS)])
def test_numbers_of_classes_are_drawn_as_one_hot_targets(targets):
    found = draw("classes", targets, SHARES, mask=MASK)
    expected = draw("classes", one_hot(LABELS, 3), SHARES, mask=MASK)
    assert list(found) == list(expected)
    assert get_texts(found["answer"], 0) == {k: str(LABELS[k]) for k in COUNTED}
    assert get_texts(found["answer"], 1) == get_texts(expected["answer"], 1)


@pytest.mark.parametrize("predictions", [SHARES, SHARES[-1], SHARES[-1:]])
@pytest.mark.parametrize("target", [2, [2]])
def test_one_class_for_the_whole_sequence_is_drawn_at_its_last_step(target, predictions):
    panels = draw("classes", target, predictions, np.zeros((T, F)))
    assert get_texts(panels["answer"], 0) == {T - 1: "2"}
    assert get_texts(panels["answer"], 1) == {T - 1: str(SHARES[-1].argmax())}
    panels = draw("classes", target, SHARES, np.zeros((T, F)), mask=MASK)
    assert get_texts(panels["answer"], 0) == {COUNTED[-1]: "2"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"targets": LABELS + 1}, "integers from 0 to 2, or one-hot, not 3"),
        ({"targets": LABELS - 0.5}, "integers from 0 to 2, or one-hot, not 1.5"),
        ({"targets": LABELS[1:]}, r"a class for each of 7 steps, one .* not of shape \(6,\)"),
        ({"inputs": 1.0}, "input must be of shape .*, not a single number"),
    ],
)
def test_numbers_that_are_no_classes(given, message):
    arrays = {"inputs": np.zeros((T, F)), "targets": LABELS, "predictions": SHARES, **given}
    with pytest.raises(ValueError, match=message):
        plot_sequence(**arrays, kind="classes")
