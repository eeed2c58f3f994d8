"""Panels of what a network is asked for and what it answers, by the kind of the targets.

Notation: T time steps, O outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ntm.typing import Array, ArrayLike
from ntm.visualization.panels import (
    LINES_HEIGHT,
    MOST_LINES,
    PROBABILITY,
    Panel,
    add_legend_above,
    choose_names,
    draw_image,
    draw_texts,
    fit_label,
    fit_texts,
    get_image_height,
    shade_masked,
)
from ntm.visualization.style import COLORS, RIGHT, WRONG, get_bit_colors, get_number_scale

__all__ = ["Answers", "spread_classes"]

#: The probabilities of so many classes are drawn
MOST_CLASSES = 64
#: Inches of a line of a table
TABLE_LINE = 0.135
#: Points of the marks of right and wrong steps above an image
MARKS = 6.0
#: So many outputs are named below an axis
MOST_NAMES = 12


#: How targets and predictions are drawn as lines
POINTS: dict[str, dict[str, Any]] = {
    "target": {"color": "black", "linestyle": "-", "marker": "o", "markerfacecolor": "none"},
    "prediction": {"color": COLORS[1], "linestyle": "--", "marker": "x"},
}


def spread_classes(
    given: Mapping[str, Array], steps: int, mask: ArrayLike | None
) -> tuple[dict[str, Array], ArrayLike | None]:
    """Return arrays whose target is one-hot (T, C) where it was given as numbers of classes, and the mask.

    Parameters
    ----------
    given : dict from str to array
        ``"target"``: numbers of classes (T,) or (T, 1), one number for the whole sequence, or one-hot (T, C) already.
        Perhaps ``"prediction"`` (T, C), or (C,) for the whole sequence.
    steps : int
        T.
    mask : array (T,) or None
        One class for the whole sequence stands at the last step that counts, and no other step counts then.

    Raises
    ------
    ValueError
        If a number is no class.
    """
    arrays = dict(given)
    target, predicted = arrays["target"], arrays.get("prediction")
    num_classes = None if predicted is None or not predicted.ndim else predicted.shape[-1]
    if target.ndim > 2 or (target.ndim == 2 and (target.shape[1] > 1 or num_classes in (None, 1))):
        return arrays, mask
    numbers = np.nan_to_num(target.ravel(), nan=-1.0)
    if len(numbers) not in (1, steps):
        raise ValueError(
            f"target of kind 'classes' must be a class for each of {steps} steps, one for the whole sequence, or "
            f"one-hot ({steps}, classes), not of shape {target.shape}"
        )
    counted = np.ones(steps, bool) if mask is None else np.asarray(mask) != 0
    if counted.shape != (steps,):
        raise ValueError(f"mask must be of shape ({steps},), not {counted.shape}")
    if len(numbers) == 1 != steps:
        last = np.flatnonzero(counted)[-1:]
        counted = mask = np.isin(np.arange(steps), last)
        numbers = np.full(steps, numbers[0])
        if predicted is not None and predicted.size == num_classes:
            arrays["prediction"] = np.broadcast_to(
                predicted.reshape(1, -1), (steps, predicted.size)
            )
    numbers = np.where(counted, numbers, 0)
    known = num_classes or int(max(numbers.max(initial=0), 0)) + 1
    wrong = ~np.isin(numbers, np.arange(known))
    if wrong.any():
        raise ValueError(
            f"target of kind 'classes' must be integers from 0 to {known - 1}, or one-hot, not {numbers[wrong][0]:g}"
        )
    arrays["target"] = np.eye(known)[numbers.astype(int)]
    return arrays, mask


def find_wrong(kind: str, targets: Array, predictions: Array) -> Array:
    """Return which outputs are wrong: an array (T, n) of bool, n being O, or one for classes and digits.

    Parameters
    ----------
    kind : {'bits', 'classes', 'digits', 'numbers'}
        Numbers are right where they are when rounded.
    targets, predictions : arrays (T, O)
        No output of a step is right where one of its predictions is not finite.
    """
    if kind == "bits":
        wrong = (predictions > 0.5) != (targets > 0.5)
    elif kind == "numbers":
        wrong = np.rint(predictions) != np.rint(targets)
    else:
        wrong = (choose(kind, predictions) != choose(kind, targets)).any(1, keepdims=True)
    return wrong | ~np.isfinite(predictions).all(1, keepdims=True)


def choose(kind: str, outputs: Array) -> Array:
    """Return the most probable class (T, 1), or the most probable digits (T, O / 10)."""
    size = 10 if kind == "digits" else outputs.shape[1]
    return outputs.reshape(len(outputs), -1, size).argmax(axis=2)


@dataclass
class Answers:
    """What a network is asked for in a sequence, and what it answers.

    Attributes
    ----------
    kind : str
        ``"bits"``, ``"classes"``, ``"digits"`` or ``"numbers"``.
    targets : array (T, O)
    predictions : array (T, O)
    counted : array (T,) of bool
        The steps that count.
    step : float
        Points of a time step in the picture.
    names : dict from int to str
        Of outputs: of classes, or of the channels of bits.
    spell : function, optional
        Gives a text for each step of outputs (T, O), for classes and digits.
    best : array (T, O), optional
        The best possible predictions.
    """

    kind: str
    targets: Array
    predictions: Array
    counted: Array
    step: float
    names: dict[int, str] = field(default_factory=dict)
    spell: Callable[[Array], Sequence[str] | None] | None = None
    best: Array | None = None

    def list_panels(self) -> list[Panel]:
        """List the panels of targets and predictions."""
        single = np.count_nonzero(self.counted) == 1
        if self.kind == "bits":
            return self._list_images(self._show_bits)
        if self.kind == "numbers":
            if single and self.targets.shape[1] > 1:
                return [self._make_outputs()]
            if self.targets.shape[1] > MOST_LINES:
                return self._list_images(self._show_numbers)
            texts = self._list_texts() if self.targets.shape[1] == 1 else []
            return texts if single and texts else texts + self._list_lines()
        panels = self._list_texts()
        if self.kind == "classes" and self.targets.shape[1] <= MOST_CLASSES:
            panels.append(self._make_bars() if single else self._make_probabilities())
        return panels or [self._make_points()]

    # ---- Right and wrong

    def find_wrong(self) -> Array:
        """Return which outputs of the steps that count are wrong; see :func:`find_wrong`."""
        return find_wrong(self.kind, self.targets, self.predictions) & self.counted[:, None]

    def describe(self) -> str:
        """Describe in words how many of the steps that count are right; empty where numbers cannot be right."""
        if self.kind == "numbers" and not self._has_whole_targets:
            return ""
        count, wrong = np.count_nonzero(self.counted), self.find_wrong()
        wrong_steps = np.count_nonzero(wrong.any(axis=1))
        if not count:
            return ": no step counts"
        if not wrong_steps:
            return ": right" if count == 1 else f": all {count:,} steps right"
        if count == 1 and wrong.shape[1] == 1:
            return ": wrong"
        text = f": {wrong_steps:,} of {count:,} steps wrong"
        if self.kind == "bits" and wrong.shape[1] > 1:
            bits = np.count_nonzero(wrong)
            text += f" ({bits:,} bit{'s' if bits > 1 else ''})"
        return text

    @property
    def _has_whole_targets(self) -> bool:
        targets = self.targets[self.counted]
        return bool(np.all(targets == np.rint(targets)))

    # ---- Bits, and numbers of many outputs

    def _list_images(self, draw: Callable[..., ScalarMappable]) -> list[Panel]:
        shown = {"target": self.targets, f"prediction{self.describe()}": self.predictions}
        if self.best is not None:
            shown["best possible prediction"] = self.best
        colors = PROBABILITY if self.kind == "bits" else "value"
        height = get_image_height(self.targets.shape[1], self.names)
        return [
            Panel(
                title,
                height + (MARKS / 72 if values is self.predictions and self.kind == "bits" else 0),
                partial(draw, values=values),
                colors,
            )
            for title, values in shown.items()
        ]

    def _show_bits(self, axes: Axes, values: Array) -> ScalarMappable:
        image = self._show_image(axes, values, get_bit_colors(), (0.0, 1.0), "channel")
        if values is self.predictions:
            self._mark(axes)
        return image

    def _show_numbers(self, axes: Axes, values: Array) -> ScalarMappable:
        both = np.concatenate([self.targets[self.counted], self.predictions[self.counted]])
        return self._show_image(axes, values, *get_number_scale(both), "output")

    def _show_image(
        self,
        axes: Axes,
        values: Array,
        colors: Colormap,
        limits: tuple[float, float],
        unit: str,
    ) -> ScalarMappable:
        shown = np.where(self.counted[:, None], values, np.nan)
        count = values.shape[1]
        height = self._class_height if unit == "class" else get_image_height(count, self.names)
        names, unit = choose_names(self.names, count, height), fit_label(unit, height)
        image = draw_image(axes, shown, colors, limits, range(count), unit, names)
        shade_masked(axes, self.counted)
        return image

    def _mark(self, axes: Axes) -> None:
        """Mark wrong bits with crosses, and above the image which steps are right and which are wrong."""
        wrong = self.find_wrong()
        height = (
            72 * get_image_height(wrong.shape[1], self.names) / wrong.shape[1]
        )  # points of a bit
        if wrong.shape[1] > 1:
            steps, bits = np.nonzero(wrong)
            size = float(np.clip(0.8 * min(self.step, height), 2.5, 5.0))
            axes.plot(steps, bits, "x", color=WRONG, markersize=size, markeredgewidth=size / 4)
        axes.set_ylim(top=-0.5 - MARKS / height)
        self._mark_steps(axes, np.full(len(wrong), -0.5 - MARKS / height / 2))

    def _mark_steps(self, axes: Axes, places: Array) -> None:
        """Mark the steps that are right with a dot and those that are wrong with a cross, at places (T,)."""
        wrong = self.find_wrong().any(axis=1)
        for which, marker, color, least in (
            (self.counted & ~wrong, "o", RIGHT, 0.8),
            (wrong, "x", WRONG, 3.0),
        ):
            factor, most = (0.5, 2.8) if marker == "o" else (0.8, 4.5)
            size = float(np.clip(factor * self.step, least, most))
            axes.plot(
                np.flatnonzero(which),
                places[which],
                marker,
                color=color,
                markersize=size,
                markeredgewidth=size / 4,
            )

    # ---- Numbers of a few outputs

    def _list_lines(self) -> list[Panel]:
        count = self.targets.shape[1]
        return [
            Panel(
                f"output {k}" if count > 1 else f"numbers{self.describe()}",
                LINES_HEIGHT,
                partial(self._show_lines, output=k),
            )
            for k in range(count)
        ]

    def _show_lines(self, axes: Axes, output: int) -> None:
        steps = np.arange(len(self.counted))
        few = np.count_nonzero(self.counted) <= 40
        for name, values in (("target", self.targets), ("prediction", self.predictions)):
            line = np.where(self.counted, values[:, output], np.nan)
            axes.plot(steps, line, label=name, **POINTS[name] | ({} if few else {"marker": ""}))
        shade_masked(axes, self.counted)
        axes.margins(y=0.25)
        axes.set_ylabel("value")
        add_legend_above(axes)

    # ---- Symbols

    def name_steps(self, outputs: Array) -> list[str]:
        """Return texts of the steps that count, the most probable symbols or the number, and empty ones of others."""
        texts = None if self.spell is None else self.spell(outputs)
        if self.kind == "numbers":
            texts = [f"{value:.4g}" for value in outputs[:, 0]]
        elif texts is None:
            names = self.names if self.kind == "classes" else {}
            chosen = choose(self.kind, outputs).tolist()
            texts = ["".join(names.get(k, str(k)) for k in row) for row in chosen]
        if len(texts) != len(outputs):
            raise ValueError(
                f"spell must give a text for each of {len(outputs)} steps, not {len(texts)} texts"
            )
        return [text if counts else "" for text, counts in zip(texts, self.counted, strict=True)]

    def _list_texts(self) -> list[Panel]:
        """List a panel of the symbols over time; of digits a table where there is no room; else none."""
        rows = {
            name: self.name_steps(values)
            for name, values in (("target", self.targets), ("prediction", self.predictions))
        }
        title = f"answer{self.describe()}"
        longest = [max(pair, key=len) for pair in zip(*rows.values(), strict=True)]
        fitting = fit_texts(longest, self.step)
        if fitting is not None:
            height = fitting[2]
            draw = partial(self._show_texts, rows=rows, fitting=fitting)
            return [Panel(title, 2 * height / 72 + 0.06, draw)]
        if self.kind != "digits":
            return []
        height = TABLE_LINE * (1 + np.count_nonzero(self.counted))
        return [Panel(title, height, partial(self._show_table, rows=rows), over_time=False)]

    def _show_texts(
        self, axes: Axes, rows: dict[str, list[str]], fitting: tuple[float, bool, float]
    ) -> None:
        wrong = self.find_wrong()[:, 0] & bool(self.describe())
        colors = {"prediction": np.where(wrong, WRONG, RIGHT).tolist()} if self.describe() else None
        size, rotated, _ = fitting
        draw_texts(axes, rows, size, rotated, self.step, colors)
        shade_masked(axes, self.counted)
        for step in np.flatnonzero(wrong):  # Where colours are not seen, a frame is
            axes.add_patch(
                Rectangle((step - 0.5, 0.52), 1, 0.96, fill=False, edgecolor=WRONG, linewidth=0.7)
            )

    def _show_table(self, axes: Axes, rows: dict[str, list[str]]) -> None:
        axes.axis("off")
        wrong = self.find_wrong()[:, 0]
        steps = np.flatnonzero(self.counted)
        lines = [("step", *rows, "")]
        lines += [
            (str(k), *(texts[k] for texts in rows.values()), "×" if wrong[k] else "✓")
            for k in steps
        ]
        places = (0.0, 0.12, 0.52, 0.92)
        for line, cells in enumerate(lines):
            for column, (place, cell) in enumerate(zip(places, cells, strict=True)):
                is_answer = line > 0 and column >= 2
                axes.text(
                    place,
                    1 - (line + 0.5) / len(lines),
                    cell,
                    va="center",
                    color=(WRONG if wrong[steps[line - 1]] else RIGHT) if is_answer else "black",
                    family="DejaVu Sans Mono" if line and column < 3 else "DejaVu Sans",
                    parse_math=False,
                )

    def _make_probabilities(self) -> Panel:
        """Return a panel of the probabilities of the classes, with the targets and what is right marked."""
        return Panel(
            "predicted probability of each class",
            self._class_height,
            self._show_probabilities,
            PROBABILITY,
        )

    @property
    def _class_height(self) -> float:
        return float(np.clip((0.13 if self.names else 0.09) * self.targets.shape[1], 0.3, 1.4))

    def _show_probabilities(self, axes: Axes) -> ScalarMappable:
        image = self._show_image(axes, self.predictions, get_bit_colors(), (0.0, 1.0), "class")
        self._mark_targets(axes)
        return image

    def _mark_targets(self, axes: Axes) -> None:
        size = float(np.clip(0.9 * self.step, 1.5, 5.0))
        steps, classes = np.flatnonzero(self.counted), choose(self.kind, self.targets)[:, 0]
        axes.plot(
            steps,
            classes[steps],
            "s",
            color=COLORS[0],
            fillstyle="none",
            markersize=size,
            markeredgewidth=size / 5,
        )
        self._mark_steps(axes, choose(self.kind, self.predictions)[:, 0])

    def _make_points(self) -> Panel:
        """Return a panel of the numbers of classes, where they are too many to show their probabilities."""
        return Panel(f"answer: class{self.describe()}", LINES_HEIGHT, self._show_points)

    def _show_points(self, axes: Axes) -> None:
        self._mark_targets(axes)
        shade_masked(axes, self.counted)
        axes.set_ylabel("class")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))

    def _make_bars(self) -> Panel:
        """Return a panel of the probabilities of the classes at the one step that counts."""
        return Panel("predicted probability of each class", 0.6, self._show_bars, over_time=False)

    def _show_bars(self, axes: Axes) -> None:
        (step,) = np.flatnonzero(self.counted)
        (target,), (chosen,) = (
            choose(self.kind, each)[step] for each in (self.targets, self.predictions)
        )
        probabilities = self.predictions[step]
        colors = np.full(len(probabilities), "0.75", dtype=object)
        colors[chosen], colors[target] = WRONG, RIGHT
        bars = axes.bar(np.arange(len(probabilities)), probabilities, color=colors.tolist())
        bars[target].set(edgecolor="black", hatch="////")
        self._label_outputs(axes, "class")
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 1])

    def _make_outputs(self) -> Panel:
        """Return a panel of the numbers at the one step that counts, by output."""
        return Panel(f"answer{self.describe()}", 0.75, self._show_outputs, over_time=False)

    def _show_outputs(self, axes: Axes) -> None:
        (step,) = np.flatnonzero(self.counted)
        for name, values in (("target", self.targets), ("prediction", self.predictions)):
            axes.plot(values[step], label=name, **POINTS[name] | {"linestyle": ""})
        self._label_outputs(axes, "output")
        axes.margins(y=0.25)
        axes.set_ylabel("value")
        add_legend_above(axes)

    def _label_outputs(self, axes: Axes, unit: str) -> None:
        count = self.targets.shape[1]
        if self.names and count <= MOST_NAMES:
            axes.set_xticks(range(count), [self.names.get(k, str(k)) for k in range(count)])
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlabel(unit)
