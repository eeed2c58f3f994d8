"""Pictures of a sequence, and of where a memory network reads and writes.

Notation: T steps, F input and O output features, N slots, W write and R read heads.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntm.arguments import check_choice
from ntm.traces import HeadTrace, Trace
from ntm.typing import Array, ArrayLike
from ntm.visualization.answers import Answers, spread_classes
from ntm.visualization.panels import (
    LINES_HEIGHT,
    MOST_LINES,
    Panel,
    choose_names,
    draw_image,
    draw_lines,
    draw_stems,
    draw_texts,
    fit_label,
    fit_texts,
    get_image_height,
    measure_step,
    stack_panels,
)
from ntm.visualization.style import get_bit_colors, get_number_scale
from ntm.visualization.weights import list_weight_panels

__all__ = ["plot_sequence"]

#: What targets may be
KINDS = ("bits", "classes", "digits", "numbers")


def plot_sequence(
    inputs: ArrayLike | Mapping[str, ArrayLike],
    targets: ArrayLike,
    predictions: ArrayLike,
    write_weights: ArrayLike | None = None,
    read_weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    title: str | None = None,
    figure: Figure | None = None,
    *,
    kind: str = "bits",
    traces: Sequence[Trace] = (),
    input_names: Mapping[int, str] | Sequence[str] = (),
    output_names: Mapping[int, str] | Sequence[str] = (),
    input_texts: Sequence[str] | None = None,
    spell: Callable[[Array], Sequence[str] | None] | None = None,
    best: ArrayLike | None = None,
    width: float | None = None,
) -> Figure:
    """Draw one sequence over time: input, target, prediction, and the weights of each head.

    Targets and predictions are drawn as what they are: bits as images, numbers as lines with their values, classes and
    digits as the symbols that they stand for. Right and wrong steps are marked, and steps that do not count are
    hatched. Only the slots that the heads use are shown.

    Parameters
    ----------
    inputs : array (T, F), or dict from str to array (T, F)
        Channels from 0 to 1 are drawn as an image, other channels as lines or with a scale of their own.
    targets, predictions : arrays (T, O)
        Bits and probabilities of ones, classes one-hot and their probabilities, digits with ten outputs each, or
        numbers. Targets of classes may also be numbers of classes, (T,) or (T, 1), or one for the whole sequence: its
        prediction, (T, O) or (O,), is drawn at the last step that counts.
    write_weights : array (T, W, N), optional
    read_weights : array (T, R, N), optional
        Weights of heads. `traces` shows them, too.
    mask : array (T,), optional
        Weight of each step. Where it is zero the step does not count.
    title : str, optional
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on, for example a figure of pyplot.
    kind : str
        What the targets are: ``"bits"``, ``"classes"``, ``"digits"`` or ``"numbers"``, as the attribute `output` of a
        task says.
    traces : list of Trace
        What each memory layer did with the sequence, as :func:`ntm.look_inside` gives it.
    input_names, output_names : dict from int to str, or list of str
        Names of channels, such as ``{8: "marker"}``, or of classes.
    input_texts : list of T str, optional
        What the inputs of each step stand for, drawn in place of the inputs where there is room.
    spell : function, optional
        For classes and digits: gives for outputs (T, O) what the outputs of each step stand for, a list of T str; or
        None for the names or numbers of classes and digits.
    best : array (T, O), optional
        For bits: the best possible predictions.
    width : float, optional
        In inches: :data:`ntm.visualization.COLUMN_WIDTH` or :data:`ntm.visualization.FULL_WIDTH`, the default.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the arrays differ in their number of steps, an array has another number of axes, or `kind` is unknown.
    """
    check_choice("kind of targets", kind, KINDS)
    named = inputs if isinstance(inputs, Mapping) else {"": inputs}
    given = {f"input {name}".rstrip(): _to_array(each) for name, each in named.items()}
    given |= {"target": _to_array(targets), "prediction": _to_array(predictions)}
    if best is not None:
        given["best prediction"] = _to_array(best)
    heads = _make_heads("write", write_weights) + _make_heads("read", read_weights)
    first, values = next(iter(given.items()))
    if not values.ndim:
        raise ValueError(f"{first} must be of shape (steps, ...), not a single number")
    steps = len(values)
    if kind == "classes":
        given, mask = spread_classes(given, steps, mask)
    _check(given, heads, traces, steps, kind, mask)
    size = measure_step(steps, figure, width)
    answers = Answers(
        kind,
        given["target"],
        given["prediction"],
        np.ones(steps, bool) if mask is None else np.asarray(mask) != 0,
        size,
        _to_names(output_names),
        spell,
        given.get("best prediction"),
    )
    panels = list_input_panels(
        {name: given[name] for name in given if name.startswith("input")},
        _to_names(input_names),
        input_texts,
        size,
    )
    panels += answers.list_panels()
    if heads:
        panels += list_weight_panels(heads, heads[0].weights.shape[1])
    for trace in traces:
        prefix = f"{trace.name}: " if len(traces) > 1 else ""
        panels += list_weight_panels(trace.heads, trace.num_slots, prefix)
    return stack_panels(panels, steps, title, figure, width)


def _to_array(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=float)


def _to_names(names: Mapping[int, str] | Sequence[str]) -> dict[int, str]:
    return dict(names) if isinstance(names, Mapping) else dict(enumerate(names))


def _make_heads(kind: str, weights: ArrayLike | None) -> list[HeadTrace]:
    """Return heads with the weights (T, heads, N)."""
    if weights is None:
        return []
    weights = _to_array(weights)
    if weights.ndim != 3:
        raise ValueError(
            f"{kind} weights must be of shape (time, heads, slots), not {weights.shape}"
        )
    count = weights.shape[1]
    names = [f"{kind} {k + 1}" if count > 1 else kind for k in range(count)]
    return [
        HeadTrace(name, kind == "write", weights[:, k], weights[:, k])
        for k, name in enumerate(names)
    ]


def _check(
    given: Mapping[str, Array],
    heads: Sequence[HeadTrace],
    traces: Sequence[Trace],
    steps: int,
    kind: str,
    mask: ArrayLike | None,
) -> None:
    """Raise a `ValueError` unless arrays fit to each other and to the kind of the targets."""
    arrays = dict(given) | {f"{head.name} weights": head.used for head in heads}
    for name, values in arrays.items():
        if values.ndim != 2 or len(values) != steps:
            raise ValueError(f"{name} must be of shape ({steps}, ...), not {values.shape}")
    for trace in traces:
        if trace.num_steps != steps:
            raise ValueError(
                f"the trace of {trace.name} has {trace.num_steps} steps, and the sequence {steps}"
            )
    if mask is not None and np.shape(mask) != (steps,):
        raise ValueError(f"mask must be of shape ({steps},), not {np.shape(mask)}")
    target = given["target"]
    for name in ("prediction", "best prediction"):
        if name in given and given[name].shape != target.shape:
            raise ValueError(
                f"{name} must be of shape {target.shape}, as target, not {given[name].shape}"
            )
    if kind == "digits" and target.shape[1] % 10:
        raise ValueError(
            f"target of kind 'digits' must have ten outputs for each digit, not {target.shape[1]} in all"
        )


def list_input_panels(
    inputs: Mapping[str, Array], names: dict[int, str], texts: Sequence[str] | None, step: float
) -> list[Panel]:
    """List the panels of inputs (T, F): texts where they are given and there is room, else images and lines."""
    if texts is not None:
        steps = len(next(iter(inputs.values())))
        if len(texts) != steps:
            raise ValueError(f"input_texts must be {steps} texts, not {len(texts)}")
        fitting = fit_texts(texts, step)
        if fitting is not None:
            size, rotated, height = fitting
            draw = partial(draw_texts, rows={"": texts}, size=size, rotated=rotated, room=step)
            return [Panel("input", height / 72 + 0.06, draw)]
    return [
        panel for name, values in inputs.items() for panel in _list_channels(name, values, names)
    ]


def _list_channels(title: str, values: Array, names: dict[int, str]) -> list[Panel]:
    """List an image of channels from 0 to 1, and lines or an image of the other channels."""
    # What is NaN says nothing of a channel
    lowest, highest = np.fmin.reduce(values, initial=0), np.fmax.reduce(values, initial=0)
    is_number = (lowest < 0) | (highest > 1)
    if values.shape[1] <= MOST_LINES:
        is_number |= (values != np.rint(values)).any(axis=0)
    numbers, others = (np.flatnonzero(which).tolist() for which in (is_number, ~is_number))
    panels = []
    if others:
        ticks = {k: names[each] for k, each in enumerate(others) if each in names}
        if numbers:  # The rows of the image have other numbers than the channels
            ticks |= {k: str(others[k]) for k in (0, len(others) - 1) if k not in ticks}
        height = get_image_height(len(others), ticks)
        draw: Callable[[Axes], Any] = partial(
            draw_image,
            values=values[:, others],
            colors=get_bit_colors(),
            limits=(0.0, 1.0),
            rows=range(len(others)),
            unit=fit_label("channel", height),
            names=choose_names(ticks, len(others), height),
        )
        panels.append(Panel(title, height, draw))
    if len(numbers) > MOST_LINES:
        colors, limits = get_number_scale(values[:, numbers])
        draw = partial(
            draw_image,
            values=values[:, numbers],
            colors=colors,
            limits=limits,
            rows=range(len(numbers)),
            unit="channel",
        )
        panels.append(Panel(f"{title}, numbers", get_image_height(len(numbers)), draw, title))
    elif numbers:
        lines = {names.get(k, f"channel {k}"): values[:, k] for k in numbers}
        if others:
            panels += [
                Panel(f"{title}: {name}", LINES_HEIGHT / 2, partial(draw_stems, values=line))
                for name, line in lines.items()
            ]
        else:
            draw = partial(draw_lines, values=lines, unit="value")
            panels.append(Panel(title, LINES_HEIGHT, draw))
    return panels
