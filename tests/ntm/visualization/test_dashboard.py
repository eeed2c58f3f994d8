"""What a dashboard shows is read back from its figures."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure

from ntm.tasks import CopyTask
from ntm.visualization import COLUMN_WIDTH, Dashboard, plot_dashboard

from .traces import M, N, T, make_dnc, make_ntm, make_sdnc

INPUTS = np.random.default_rng(1).integers(0, 2, (T, 3)).astype(float)
TARGETS = np.random.default_rng(2).integers(0, 2, (T, 2)).astype(float)


def read(figure):
    """The axes of panels by their titles, in their order."""
    return {axes.get_title("left"): axes for axes in figure.axes if axes.get_title("left")}


def read_image(axes):
    """The values (T, rows) of an image, after checking where it lies."""
    (image,) = axes.get_images()
    values = np.asarray(image.get_array())
    left, right, bottom, top = image.get_extent()
    assert (left, right) == (-0.5, values.shape[1] - 0.5)
    assert bottom - top == len(values)
    assert image.origin == "upper"
    low, high = axes.get_ylim()
    # A margin, and marks of right steps, may lie beside the image
    assert low >= bottom > top >= high
    assert low - bottom < 0.5
    return values.T, top + 0.5


def read_lines(axes):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in axes.get_lines()}


def test_each_panel_shows_its_own_head():
    trace = make_ntm()
    panels = read(plot_dashboard(trace, INPUTS, TARGETS, TARGETS))
    titles = ["write weights", "read 1 weights", "read 2 weights"]
    assert [title for title in panels if title.endswith("weights")] == titles
    assert [title.split(":")[0] for title in panels][:3] == ["input", "target", "prediction"]
    for title, head in zip(titles, trace.heads, strict=True):
        values, first = read_image(panels[title])
        np.testing.assert_array_equal(values, head.used)
        assert first == 0
        assert panels[title].get_ylabel() == "slot"
        assert panels[title].get_xlim() == (-0.5, T - 0.5)
        assert panels[title].get_images()[0].get_clim() == (0, 1)
    np.testing.assert_array_equal(read_image(panels["input"])[0], INPUTS)
    np.testing.assert_array_equal(read_image(panels["target"])[0], TARGETS)


def test_only_slots_that_are_used_are_shown_and_slots_keep_their_numbers():
    trace = make_ntm()
    for head in trace.heads:
        head.used[:, [0, 1, 2, 8]] = 0
    panels = read(plot_dashboard(trace, panels=["read weights", "memory", "memory at step"]))
    values, first = read_image(panels["read 2 weights"])
    assert first == 1  # Slots 3 to 7, and two beside them
    np.testing.assert_array_equal(values, trace.heads[2].used[:, 1:9])
    values, first = read_image(panels["memory: length of the vector in each slot"])
    assert first == 1
    np.testing.assert_allclose(values, np.linalg.norm(trace.memory, axis=2)[:, 1:9])
    axes = panels[f"memory after step {T - 1}"]
    values, first = read_image(axes)
    assert first == 1
    np.testing.assert_array_equal(values, trace.memory[-1, 1:9].T)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("component", "slot")
    assert axes.get_xlim() == (-0.5, M - 0.5)


def test_slots_that_go_on_from_the_last_to_the_first():
    """Weights, usage, memory and links show the same slots in the same order, and their numbers."""
    dnc = make_dnc(num_slots=20)
    for head in dnc.heads:
        head.used[:, 1:19] = 0
        head.used[:, [0, 19]] += 0.1
    names = ["write weights", "usage", "memory at step", "links"]
    figure = plot_dashboard(dnc, panels=names)
    figure.savefig(BytesIO())
    panels, slots = read(figure), [17, 18, 19, 0, 1, 2]
    for title, expected in (
        ("write 2 weights", dnc.heads[1].used[:, slots]),
        ("usage", dnc.states["usage"][:, slots]),
        (f"memory after step {T - 1}", dnc.memory[-1][slots].T),
    ):
        values, first = read_image(panels[title])
        np.testing.assert_array_equal(values, expected)
        assert first == -3
        labels = [label.get_text() for label in panels[title].get_yticklabels()]
        assert labels == [str(round(tick) % 20) for tick in panels[title].get_yticks()]
    axes = panels[f"links after step {T - 1}, write 2"]
    (image,) = axes.get_images()
    expected = dnc.states["links"][-1, 1][np.ix_(slots, slots)]
    np.testing.assert_array_equal(image.get_array(), expected)
    assert list(image.get_extent()) == [-3.5, 2.5, 2.5, -3.5]
    assert axes.xaxis.get_major_formatter()(-1, 0) == "19"


def test_parameters_of_an_ntm():
    trace = make_ntm()
    names = ["key strength", "gate", "sharpness", "shift", "key", "erase", "add", "read vector"]
    panels = read(plot_dashboard(trace, panels=names))
    for name in names[:3]:
        lines = read_lines(panels[name])
        assert list(lines) == ["write", "read 1", "read 2"]
        for head in trace.heads:
            np.testing.assert_array_equal(lines[head.name], head.parameters[name])
    assert panels["gate"].get_ylim() == (-0.05, 1.05)
    for head in trace.heads:
        values, first = read_image(panels[f"{head.name}: shift"])
        np.testing.assert_array_equal(values, head.parameters["shift"])
        assert first == (-2 if head.name == "read 2" else -1)
        np.testing.assert_array_equal(
            read_image(panels[f"{head.name}: key"])[0], head.parameters["key"]
        )
    for name in ("erase", "add"):
        values, _ = read_image(panels[f"write: {name}"])
        np.testing.assert_array_equal(values, trace.heads[0].parameters[name])
    for head in trace.read_heads:
        values, _ = read_image(panels[f"{head.name}: read vector"])
        np.testing.assert_array_equal(values, head.results["read vector"])


def test_a_dnc():
    trace = make_dnc()
    panels = read(plot_dashboard(trace, panels="all", step=3))
    np.testing.assert_array_equal(read_image(panels["usage"])[0], trace.states["usage"])
    for k, head in enumerate(trace.write_heads):
        values, _ = read_image(panels[f"precedence, {head.name}"])
        np.testing.assert_array_equal(values, trace.states["precedence"][:, k])
        axes = panels[f"links after step 3, {head.name}"]
        (image,) = axes.get_images()
        np.testing.assert_array_equal(image.get_array(), trace.states["links"][3, k])
        assert list(image.get_extent()) == [-0.5, N - 0.5, N - 0.5, -0.5]
        # In the row of a slot, the slots that were written to just before
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("slot written before", "slot")
    for name in ("allocation gate", "write gate", "free gate", "key strength"):
        lines = read_lines(panels[name])
        heads = [head for head in trace.heads if name in head.parameters]
        assert list(lines) == [head.name for head in heads]
        for head in heads:
            np.testing.assert_array_equal(lines[head.name], head.parameters[name])
    for head in trace.read_heads:
        lines = read_lines(panels[f"{head.name}: read modes"])
        names = ["backward 1", "backward 2", "content", "forward 1", "forward 2"]
        assert list(lines) == names
        np.testing.assert_array_equal(
            np.transpose(list(lines.values())), head.parameters["read modes"]
        )


def test_an_sdnc_of_a_million_slots_shows_places_and_never_all_slots():
    trace = make_sdnc()
    figure = plot_dashboard(trace, panels="all", step=2)
    panels = read(figure)
    assert not [title for title in panels if title.startswith("memory")]
    for axes in figure.axes:
        for image in axes.get_images():
            assert np.size(image.get_array()) < 2000
    for head in trace.heads:
        for title, heights in (
            (f"{head.name}: slots", head.positions),
            (f"{head.name}: age of the slots", head.results["age"]),
        ):
            (dots,) = panels[title].collections
            shown = {
                (*place, weight)
                for place, weight in zip(
                    dots.get_offsets().tolist(), dots.get_array().tolist(), strict=True
                )
            }
            assert shown == {
                (t, heights[t, k], head.used[t, k])
                for t in range(T)
                for k in range(heights.shape[1])
            }
        low, high = panels[f"{head.name}: slots"].get_ylim()
        assert low > high  # The first slot is at the top, as in images
    axes = panels["links after step 2"]
    (dots,) = axes.collections
    writer = trace.heads[0]
    before = writer.results["backward positions"][2].ravel()
    written = np.repeat(writer.positions[2], 2)
    np.testing.assert_array_equal(dots.get_offsets(), np.stack([before, written], axis=1))
    np.testing.assert_array_equal(dots.get_array(), writer.results["backward links"][2].ravel())


def test_markers_masks_and_several_memories():
    mask = np.array([1, 1, 0, 1, 1, 1, 0], bool)
    first, second = make_ntm(mask), make_dnc()
    markers = [2, {"location": 4, "style": {"color": "red", "linestyle": "-"}}]
    names = ["write weights", "memory at step"]
    figure = plot_dashboard([first, second], panels=names, markers=markers, title="two memories")
    panels = read(figure)
    titles = ["NTM: write weights", "NTM: memory after step 6", "DNC: write 1 weights"]
    assert list(panels) == [*titles, "DNC: write 2 weights", "DNC: memory after step 6"]
    assert figure.get_suptitle() == "two memories"
    for title, axes in panels.items():
        lines = [(line.get_xdata()[0], line.get_color()) for line in axes.get_lines()]
        assert lines == ([] if "step" in title else [(2, "black"), (4, "red")])
    spans = [(patch.get_x(), patch.get_width()) for patch in panels["NTM: write weights"].patches]
    assert spans == [(1.5, 1), (5.5, 1)]
    assert not panels["DNC: write 1 weights"].patches


def test_width_colours_and_a_figure_of_ones_own():
    own = Figure()
    figure = plot_dashboard(make_ntm(), cmap="bone", width=COLUMN_WIDTH, figure=own)
    assert figure is own
    assert figure.get_figwidth() == pytest.approx(COLUMN_WIDTH)
    for axes in read(figure).values():
        assert axes.get_images()[0].get_cmap() == colormaps["bone"]


def test_legends_do_not_lie_on_titles():
    names = ["key strength", "free gate", "write gate", "read modes"]
    figure = plot_dashboard(make_dnc(), panels=names, width=COLUMN_WIDTH)
    figure.savefig(BytesIO())
    for axes in figure.axes:
        title = axes._left_title.get_window_extent()
        assert not axes.get_legend().get_window_extent().overlaps(title), axes.get_title("left")


def as_details(trace):
    """What get_details gives for a batch of one sequence."""
    writes, reads = (
        np.stack([head.weights for head in heads], axis=1)[None]
        for heads in (trace.write_heads, trace.read_heads)
    )
    hidden = trace.states["controller"][None]
    return [trace.memory[None], hidden, hidden, writes, reads]


def test_a_call_as_in_ntm_lasagne():
    task = CopyTask(size=2, max_length=3)  # 2 * 2 + 2 steps
    trace = make_ntm()
    calls = []

    def ntm_fn(inputs):
        calls.append(inputs)
        return np.full((1, T, 3), 0.25)

    markers = [
        {"location": (lambda params: params["length"]), "style": {"color": "red"}},
        {"location": (lambda params: params["length"] + 1), "style": {"color": "blue"}},
    ]
    dashboard = Dashboard(
        generator=task,
        ntm_fn=ntm_fn,
        ntm_layer_fn=lambda inputs: as_details(trace),
        memory_shape=(N, M),
        markers=markers,
        cmap="bone",
    )
    rng = np.random.default_rng(0)
    inputs, targets = rng.integers(0, 2, (2, 1, T, 3)).astype(float)
    panels = read(dashboard.show(inputs, targets, {"length": 2}))
    np.testing.assert_array_equal(read_image(panels["input"])[0], inputs[0])
    np.testing.assert_array_equal(read_image(panels["target"])[0], targets[0])
    for head in trace.heads:
        np.testing.assert_array_equal(read_image(panels[f"{head.name} weights"])[0], head.weights)
    for axes in panels.values():
        found = {line.get_color(): line.get_xdata()[0] for line in axes.get_lines()}
        assert found["red"] == 2
        assert found["blue"] == 3
    assert calls[0] is inputs or np.array_equal(calls[0], inputs)


def test_sampling_and_a_trained_network():
    class Fixed:
        inputs = np.random.default_rng(3).integers(0, 2, (1, T, 3)).astype(float)

        def sample(self, batch_size, **sizes):
            assert batch_size == 1
            return self.inputs, self.inputs, np.ones((1, T))

    class Trained:
        task = Fixed()

        def predict(self, inputs):
            assert inputs.shape == (1, T, 3)
            return np.zeros((1, T, 3))

        def look_inside(self, inputs):
            assert inputs.shape == (T, 3)
            return [make_ntm()]

    dashboard = Dashboard.of(Trained(), panels=["input", "gate"])
    panels = read(dashboard.sample())
    assert list(panels) == ["input", "gate"]
    np.testing.assert_array_equal(read_image(panels["input"])[0], Fixed.inputs[0])


def test_a_target_alone_is_masked_too():
    mask = np.arange(T) > 2
    panels = read(plot_dashboard(make_ntm(), targets=np.ones((T, 6)), mask=mask, panels="target"))
    (image,) = panels["target"].get_images()
    np.testing.assert_array_equal(np.ma.getmaskarray(image.get_array()), 6 * [~mask])


def test_a_memory_that_is_not_finite_at_a_step_keeps_the_scale_of_the_others():
    trace = make_ntm()
    memory = np.array(trace.memory)
    memory[2] = np.nan
    panels = read(plot_dashboard(replace(trace, memory=memory), panels=["memory"]))
    (image,) = panels["memory: length of the vector in each slot"].get_images()
    lengths = np.linalg.norm(np.delete(memory, 2, axis=0), axis=2)
    assert image.get_clim() == pytest.approx((0, lengths.max()))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"panels": ["links"]}, ValueError, "nothing to draw in the panel 'links' of this NTM"),
        ({"panels": ["gates"]}, ValueError, "panel.*'gates'"),
        ({"step": T}, ValueError, f"step must be an integer from -{T} to {T - 1}, not {T}"),
        (
            {"inputs": INPUTS[1:]},
            ValueError,
            f"input has {T - 1} steps, and the trace of NTM has {T}",
        ),
        ({"inputs": INPUTS[0]}, ValueError, "input has 3 steps"),
        ({"targets": TARGETS, "predictions": INPUTS}, ValueError, "prediction must be of shape"),
        ({"targets": 2}, ValueError, "target must be of shape .* not a single number"),
        ({"kind": "bit"}, ValueError, "kind of targets.*'bit'"),
        ({"mask": np.ones(1)}, ValueError, rf"mask must be of shape \({T},\), not \(1,\)"),
        ({"markers": [{"style": {}}]}, ValueError, "a marker must have a location"),
        ({"width": -1}, ValueError, "width must be a positive number"),
    ],
)
def test_what_cannot_be_drawn(given, error, message):
    with pytest.raises(error, match=message):
        plot_dashboard(make_ntm(), **given)


def test_numbers_of_classes():
    shares = np.eye(3)[np.zeros(T, int)]
    for targets, title in ((np.zeros(T), f"answer: all {T} steps right"), (0, "answer: right")):
        assert title in read(plot_dashboard(make_ntm(), INPUTS, targets, shares, kind="classes"))


def test_dashboards_that_do_not_fit():
    task, trace = CopyTask(size=2), make_ntm()

    def predict(inputs):
        return np.zeros((1, T, 3))

    with pytest.raises(TypeError, match="ntm_fn must be a function, not 3"):
        Dashboard(task, 3, predict)
    dashboard = Dashboard(task, predict, lambda inputs: trace, (N + 1, M))
    with pytest.raises(
        ValueError, match=r"memory_shape is \(10, 4\), but the memory of NTM is \(9, 4\)"
    ):
        dashboard.show(np.zeros((1, T, 3)), np.zeros((1, T, 3)))
    with pytest.raises(
        ValueError, match=r"must be one sequence, \(1, time, features\), not \(2, 7, 3\)"
    ):
        dashboard.show(np.zeros((2, T, 3)), np.zeros((1, T, 3)))
    dashboard = Dashboard(task, predict, lambda inputs: as_details(trace)[:3])
    with pytest.raises(ValueError, match="details of a memory layer"):
        dashboard.show(np.zeros((1, T, 3)), np.zeros((1, T, 3)))
    with pytest.raises(ValueError, match="there is nothing to draw"):
        plot_dashboard([])
