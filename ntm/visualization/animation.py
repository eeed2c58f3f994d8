"""Animations: a sequence that is written to a memory and read from it, step by step.

Notation: T time steps, N slots, M slot width.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ntm.arguments import Number
from ntm.files import atomic_write
from ntm.traces import HeadTrace, Trace
from ntm.typing import Array, ArrayLike, PathLike
from ntm.visualization.figures import render_figure
from ntm.visualization.inside import get_slots
from ntm.visualization.style import (
    COLORS,
    drawing,
    get_bit_colors,
    get_number_scale,
    get_weight_colors,
)

__all__ = ["animate_sequence"]

#: Frames of an animation, at most: of a longer sequence, steps are left out
MOST_FRAMES = 400
#: Rows of an image of slots, at most
MOST_SLOTS = 256
#: Inches of the animation, with dots of an inch as in all pictures: 1050 x 600 dots
SIZE = (7.0, 4.0)
#: Seconds for which the last frame stays
LAST = 2.0


def animate_sequence(
    path: PathLike,
    trace: Trace,
    inputs: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    predictions: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    steps_per_second: float = 4.0,
    title: str | None = None,
) -> None:
    """Write an animation of a sequence that is written to a memory and read from it, a frame for each step.

    On the left, input, target and prediction, and the weights with which each head writes and reads, appear step by
    step. On the right is the memory after the step, beside the weights of this step. Of a large memory, the slots that
    the heads use are shown. The file is written whole or not at all.

    Parameters
    ----------
    path : str or path
        Ends in ``.gif``, which Pillow writes, or in ``.mp4``, for which the program ffmpeg must be there.
    trace : Trace
        From :func:`ntm.look_inside`.
    inputs : array (T, F), optional
    targets, predictions : array (T, O), optional
    mask : array (T,), optional
        Weight of each step. Where it is zero, target and prediction are not shown.
    steps_per_second : float
    title : str, optional

    Raises
    ------
    ValueError
        If the file name has another ending, or arrays differ in their number of steps.
    FileNotFoundError
        If the file is an MP4 and there is no ffmpeg.

    Examples
    --------
    With `l_out` the last layer of a network and `x` one sequence (T, F)::

        (trace,) = ntm.look_inside(l_out, x)
        animate_sequence("reading.gif", trace, x)
    """
    path = Path(path)
    endings: dict[str, Callable[..., None]] = {".gif": _write_gif, ".mp4": _write_mp4}
    if path.suffix.lower() not in endings:
        raise ValueError(f"the name of an animation must end in .gif or .mp4, not {path.name!r}")
    if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise FileNotFoundError(
            "writing .mp4 needs the program ffmpeg, and there is none on the path: install it (on Debian: apt install "
            "ffmpeg), or write a .gif"
        )
    speed = Number(float, above=0).check("animate_sequence: steps_per_second", steps_per_second)
    given = {
        name: np.asarray(values, dtype=float)
        for name, values in (("input", inputs), ("target", targets), ("prediction", predictions))
        if values is not None
    }
    for name, values in given.items():
        if values.ndim != 2 or len(values) != trace.num_steps:
            raise ValueError(
                f"{name} must be of shape ({trace.num_steps}, features), as the trace has {trace.num_steps} steps, "
                f"not {values.shape}"
            )
    if mask is not None:
        if np.shape(mask) != (trace.num_steps,):
            raise ValueError(f"mask must be of shape ({trace.num_steps},), not {np.shape(mask)}")
        for name in given.keys() - {"input"}:
            given[name] = np.where(np.asarray(mask)[:, None] != 0, given[name], np.nan)
    scene = Scene(trace, given, title)
    stride = -(-trace.num_steps // MOST_FRAMES)
    steps = range(0, trace.num_steps, stride)
    with atomic_write(path) as temporary:
        endings[path.suffix.lower()](temporary, map(scene.draw, steps), speed)


class Scene:
    """A figure that shows a sequence up to a step.

    Parameters
    ----------
    trace : Trace
    given : dict from str to array (T, ...)
        What is shown above the weights.
    title : str or None

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    """

    def __init__(self, trace: Trace, given: dict[str, Array], title: str | None) -> None:
        self.trace = trace
        self.slots, self.memory, weights = _take_slots(trace)
        self._growing: list[tuple[Any, Array]] = []  # images, and their values (rows, T)
        self._columns: list[tuple[Any, Array]] = []  # images of the weights of one step
        self._lines: list[Any] = []
        with drawing(SIZE[1], SIZE[0]) as figure:
            self.figure = figure
            if title:
                figure.suptitle(title, x=0.01, ha="left")
            left: Any = figure
            right: Any = None
            if self.memory is not None:
                left, right = figure.subfigures(1, 2, width_ratios=[1.6, 1])  # type: ignore[misc]
            rows = [*given.items(), *weights.items()]
            heights = [*[0.6] * len(given), *[1.2] * len(weights)]
            axes = left.subplots(len(rows), 1, sharex=True, height_ratios=heights, squeeze=False)[
                :, 0
            ]
            answers = [values for name, values in given.items() if name != "input"]
            for axis, (name, values) in zip(axes, rows, strict=True):
                # Target and prediction are compared, so they have one scale
                scaled = [] if name in weights else [values] if name == "input" else answers
                self._add_time(axis, name, values.T, scaled)
            axes[-1].set_xlabel("time step")
            axes[-1].set_xlim(-0.5, trace.num_steps - 0.5)
            axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            if right is not None:
                self._add_memory(right, weights)
        self.draw(0)
        figure.set_layout_engine("none")  # type: ignore[arg-type]

    def _add_time(self, axis: Axes, name: str, values: Array, scaled: list[Array]) -> None:
        """Add an image (rows, T) that grows from step to step: weights, or an image with the scale of some arrays."""
        colors, limits, are_weights = get_weight_colors(), (0.0, 1.0), not scaled
        if scaled:
            colors, limits = get_number_scale(np.concatenate([each.ravel() for each in scaled]))
            if limits[0] == 0 and limits[1] <= 1:
                colors, limits = get_bit_colors(), (0.0, 1.0)
        image = axis.imshow(
            values,
            aspect="auto",
            cmap=colors.with_extremes(bad="white"),
            vmin=limits[0],
            vmax=limits[1],
            extent=(-0.5, values.shape[1] - 0.5, len(values) - 0.5, -0.5),
        )
        for side in ("top", "right"):
            axis.spines[side].set_visible(True)
        axis.set_title(f"{name} weights" if are_weights else name)
        axis.set_ylabel("slot" if are_weights else "channel")
        if are_weights:
            self._label_slots(axis)
        else:
            axis.set_yticks([0, len(values) - 1] if len(values) > 1 else [0])
        self._growing.append((image, values))
        self._lines.append(axis.axvline(0, color=COLORS[0], linewidth=0.8, alpha=0.6))

    def _add_memory(self, part: Any, weights: dict[str, Array]) -> None:
        """Add the memory after a step, between the weights of write heads and those of read heads."""
        assert self.memory is not None
        heads = self.trace.heads
        writes, reads = [h for h in heads if h.writes], [h for h in heads if not h.writes]
        widths = [0.12] * len(writes) + [1.0] + [0.12] * len(reads)
        axes = part.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)[0]
        colors, limits = get_number_scale(self.memory)
        middle = axes[len(writes)]
        self._memory_image = middle.imshow(
            self.memory[0],
            aspect="auto",
            cmap=colors,
            vmin=limits[0],
            vmax=limits[1],
            extent=(-0.5, self.memory.shape[2] - 0.5, self.memory.shape[1] - 0.5, -0.5),
        )
        middle.set_xlabel("component")
        self._memory_title = middle.set_title("memory")
        for axis, head in zip(
            [*axes[: len(writes)], *axes[len(writes) + 1 :]], [*writes, *reads], strict=True
        ):
            values = weights[head.name].T
            image = axis.imshow(
                values[:, :1],
                aspect="auto",
                cmap=get_weight_colors(),
                vmin=0.0,
                vmax=1.0,
                extent=(-0.5, 0.5, len(values) - 0.5, -0.5),
            )
            axis.set_xticks([0], [head.name], rotation=90 if len(widths) > 3 else 0)
            self._columns.append((image, values))
        axes[0].set_ylabel("slot")
        self._label_slots(axes[0])

    def _label_slots(self, axis: Axes) -> None:
        """Label a few rows with the numbers of their slots."""
        shown = MaxNLocator(5, integer=True).tick_values(self.slots[0], self.slots[-1])
        (places,) = np.nonzero(np.isin(self.slots, shown))
        places = places if len(places) else np.arange(1)
        axis.set_yticks(places, [str(self.slots[place]) for place in places])

    def draw(self, step: int) -> Array:
        """Show the sequence up to a step, and return the picture (height, width, 3) of bytes."""
        for image, values in self._growing:
            shown = values.astype(float).copy()
            shown[:, step + 1 :] = np.nan
            image.set_data(shown)
        for line in self._lines:
            line.set_xdata([step, step])
        for image, values in self._columns:
            image.set_data(values[:, step : step + 1])
        if self.memory is not None:
            self._memory_image.set_data(self.memory[step])
            self._memory_title.set_text(f"memory after step {step}")
        return render_figure(self.figure)


def _take_slots(trace: Trace) -> tuple[Array, Array | None, dict[str, Array]]:
    """Return the numbers of the slots to show (n,), their memory (T, n, M), and each head's weights (T, n)."""
    slots = np.array(get_slots(trace)) % trace.num_slots
    if trace.is_sparse and len(slots) > MOST_SLOTS:
        slots = _find_heaviest(trace.heads)
    elif len(slots) > MOST_SLOTS:
        slots = slots[:MOST_SLOTS]
    memory = None if trace.memory is None else trace.memory[:, slots]
    return slots, memory, {head.name: head.spread(slots) for head in trace.heads}


def _find_heaviest(heads: Sequence[HeadTrace]) -> Array:
    """Return the slots to which sparse heads give most weight, in their order."""
    positions = np.concatenate(
        [head.positions.ravel() for head in heads if head.positions is not None]
    )
    weights = np.concatenate([head.used.ravel() for head in heads])
    slots, places = np.unique(positions, return_inverse=True)
    totals = np.bincount(places, weights)
    return np.sort(slots[np.argsort(-totals, kind="stable")[:MOST_SLOTS]])


# ---- Files


def _write_gif(path: Path, frames: Iterator[Array], speed: float) -> None:
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    # One palette for all frames: what stays the same from frame to frame is not stored again
    palette = images[-1].quantize(64, dither=Image.Dither.NONE)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [round(1000 / speed)] * (len(images) - 1) + [round(1000 * LAST)]
    images[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=durations,
        loop=0,
        optimize=True,
    )


def _write_mp4(path: Path, frames: Iterator[Array], speed: float) -> None:
    pictures = list(frames)
    pictures += [pictures[-1]] * round(LAST * speed)
    height, width = (
        2 * (size // 2) for size in pictures[0].shape[:2]
    )  # the format wants even sizes
    command = [
        *("ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"),
        *("-s", f"{width}x{height}", "-r", f"{speed:g}", "-i", "-", "-an", "-vcodec", "libx264"),
        *("-pix_fmt", "yuv420p", "-f", "mp4", str(path)),
    ]
    data = b"".join(np.ascontiguousarray(each[:height, :width]).tobytes() for each in pictures)
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(
            f"ffmpeg could not write the animation: {done.stderr.decode(errors='replace').strip()}"
        )
