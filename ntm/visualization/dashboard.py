"""A dashboard of a memory network: what it is given, what it answers, and what its heads and memory do meanwhile.

Notation: B sequences, T time steps, F input and O output features, N slots, M slot width.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from ntm.arguments import check_choice, is_integer
from ntm.traces import HeadTrace, Trace
from ntm.typing import Array, ArrayLike, MemoryShape
from ntm.visualization.answers import Answers, spread_classes
from ntm.visualization.inside import PANELS, list_inside_panels
from ntm.visualization.panels import Panel, measure_step, shade_masked, stack_panels
from ntm.visualization.sequences import KINDS, list_input_panels

__all__ = ["Dashboard", "plot_dashboard"]

#: The panels of what a network is given and answers, and those that a dashboard shows unless others are chosen
SEQUENCE_PANELS = ("input", "target", "prediction")
DEFAULT_PANELS = (*SEQUENCE_PANELS, "write weights", "read weights")


def plot_dashboard(
    traces: Trace | Sequence[Trace],
    inputs: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    predictions: ArrayLike | None = None,
    panels: str | Sequence[str] | None = None,
    markers: Sequence[Any] = (),
    step: int = -1,
    mask: ArrayLike | None = None,
    kind: str = "bits",
    title: str | None = None,
    cmap: str | Colormap | None = None,
    width: float | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw what a network is given, what it answers, and what happens inside its memories.

    Parameters
    ----------
    traces : Trace or list of Trace
        From :func:`ntm.look_inside`.
    inputs : array (T, F), optional
    targets, predictions : array (T, O), optional
        Targets of classes may also be numbers of classes, as of :func:`ntm.visualization.plot_sequence`.
    panels : list of str, or "all", optional
        What is shown, from top to bottom. ``"input"``, ``"target"``, ``"prediction"``, ``"write weights"`` and
        ``"read weights"`` unless given. Besides these, where the memory has them: ``"memory"``, ``"memory at step"``,
        ``"key"``, ``"key strength"``, ``"gate"``, ``"shift"``, ``"sharpness"``, ``"erase"``, ``"add"`` and
        ``"read vector"``; of a DNC ``"usage"``, ``"precedence"``, ``"allocation gate"``, ``"write gate"``,
        ``"free gate"``, ``"read modes"`` and ``"links"``; of a SAM or SDNC ``"slots"``, ``"age"``,
        ``"interpolation gate"``, and ``"links"`` of an SDNC.
    markers : list of int or dict
        Vertical lines at time steps. A dictionary has a ``"location"`` and a ``"style"``, keyword arguments of
        Matplotlib's lines.
    step : int
        The time step of the panels ``"memory at step"`` and ``"links"``; the last one unless given.
    mask : array (T,), optional
        Weight of each step. Where it is zero the step does not count.
    kind : str
        What the targets are, as of :func:`ntm.visualization.plot_sequence`.
    title : str, optional
    cmap : str or matplotlib.colors.Colormap, optional
        Of weights, instead of that of all pictures.
    width : float, optional
        In inches: :data:`ntm.visualization.COLUMN_WIDTH` or :data:`ntm.visualization.FULL_WIDTH`, the default.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on, for example a figure of pyplot.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no such panel or step, no trace has what a panel shows, or arrays differ in their number of steps.

    Examples
    --------
    >>> import numpy as np
    >>> from lasagne.layers import DenseLayer, InputLayer
    >>> from ntm import NTMLayer, ReadHead, WriteHead, look_inside
    >>> from ntm.visualization import plot_dashboard
    >>> l_in = InputLayer((None, None, 9))
    >>> l_ntm = NTMLayer(l_in, (128, 20), lambda l: DenseLayer(l, 100), [WriteHead, ReadHead])
    >>> x = np.zeros((12, 9))
    >>> figure = plot_dashboard(look_inside(l_ntm, x), x, panels=["input", "write weights", "gate"])
    >>> [axes.get_title("left") for axes in figure.axes][:3]
    ['input', 'write weights', 'gate']
    """
    traces = [traces] if isinstance(traces, Trace) else list(traces)
    given = {
        name: np.asarray(values, dtype=float)
        for name, values in zip(SEQUENCE_PANELS, (inputs, targets, predictions), strict=True)
        if values is not None
    }
    check_choice("kind of targets", kind, KINDS)
    if kind == "classes" and "target" in given:
        others = [values for name, values in given.items() if name != "target" and values.ndim > 1]
        known = [trace.num_steps for trace in traces] + [len(values) for values in others]
        given, mask = spread_classes(given, known[0] if known else given["target"].size, mask)
    steps = _count_steps(traces, given)
    if mask is not None and np.shape(mask) != (steps,):
        raise ValueError(f"mask must be of shape ({steps},), not {np.shape(mask)}")
    names = _choose_panels(panels, traces, given)
    if not is_integer(step) or not -steps <= step < steps:
        raise ValueError(f"step must be an integer from {-steps} to {steps - 1}, not {step!r}")
    step = int(step) % steps
    size = measure_step(steps, figure, width)
    listed = _list_sequence_panels(
        {name: given[name] for name in names if name in given}, mask, kind, size
    )
    inside = [name for name in names if name not in SEQUENCE_PANELS]
    masks: list[Array | None] = [None] * len(listed)
    for trace in traces:
        prefix = f"{trace.name}: " if len(traces) > 1 else ""
        panels_inside = list_inside_panels(trace, inside, step, prefix)
        listed += panels_inside
        masks += [trace.mask] * len(panels_inside)
    figure = stack_panels(listed, steps, title, figure, width)
    for panel, ran, axes in zip(listed, masks, figure.axes, strict=False):
        if cmap is not None and panel.colors == "weight":
            for drawn in (*axes.get_images(), *axes.collections):
                drawn.set_cmap(cmap)
        if panel.over_time:
            shade_masked(axes, ran)
            for location, style in _read_markers(markers, {}):
                axes.axvline(location, **style)
    return figure


class Dashboard:
    """Draws sequences of a task: what the network is given and answers, and what its heads and memory do.

    The arguments are those of ntm-lasagne's Dashboard. Nothing is shown on a screen: :meth:`sample` and :meth:`show`
    return figures, to be saved by :func:`ntm.visualization.save_figure` or displayed by a notebook. For a network that
    was trained by :class:`ntm.Trainer`, :meth:`of` is shorter.

    Parameters
    ----------
    generator : Task
        Or anything whose ``sample(batch_size, **sizes)`` gives inputs (B, T, F) and targets (B, T, O), and maybe more.
    ntm_fn : function
        From inputs (1, T, F) to predictions (1, T, O).
    ntm_layer_fn : function
        From inputs (1, T, F) to the details of the memory layer, as ``l_ntm.get_output_for(x, get_details=True)`` gives
        them: memory, hidden, state, write weights (1, T, W, N) and read weights (1, T, R, N). Or to traces, as
        :func:`ntm.look_inside` gives them. Details have the weights that each step computed, which an NTM uses one step
        later; of traces, those that each step used are shown.
    memory_shape : tuple (N, M), optional
        It is checked against what `ntm_layer_fn` gives.
    markers : list of dict, optional
        Vertical lines. Each has a ``"location"``, a time step or a function from a dictionary of the sizes that were
        sampled to a time step, and may have a ``"style"``, keyword arguments of Matplotlib's lines.
    cmap : str or matplotlib.colors.Colormap, optional
        Of weights, instead of that of all pictures.
    panels, width
        As of :func:`plot_dashboard`.

    Examples
    --------
    As in a program for ntm-lasagne, with `l_out` on `l_ntm` on `l_in` and a task::

        ntm_fn = pytensor.function([l_in.input_var], get_output(l_out))
        ntm_layer_fn = pytensor.function([l_in.input_var], get_output(l_ntm, get_details=True))
        markers = [{"location": lambda params: params["length"], "style": {"color": "red"}}]
        dashboard = Dashboard(task, ntm_fn, ntm_layer_fn, (128, 20), markers=markers)
        figure = dashboard.sample(length=10)
    """

    def __init__(
        self,
        generator: Any,
        ntm_fn: Callable[[Array], Any],
        ntm_layer_fn: Callable[[Array], Any],
        memory_shape: MemoryShape | None = None,
        markers: Sequence[Any] | None = None,
        cmap: str | Colormap | None = None,
        panels: str | Sequence[str] | None = None,
        width: float | None = None,
    ) -> None:
        for name, function in (("ntm_fn", ntm_fn), ("ntm_layer_fn", ntm_layer_fn)):
            if not callable(function):
                raise TypeError(f"Dashboard: {name} must be a function, not {function!r:.100}")
        self.generator, self.ntm_fn, self.ntm_layer_fn = generator, ntm_fn, ntm_layer_fn
        self.memory_shape, self.markers, self.cmap = memory_shape, list(markers or ()), cmap
        self.panels, self.width = panels, width

    @classmethod
    def of(cls, trained: Any, **options: Any) -> "Dashboard":
        """Make the dashboard of a :class:`ntm.Trainer` or :class:`ntm.training.Evaluator` and its task.

        Parameters
        ----------
        trained : Trainer or Evaluator
        **options
            `markers`, `cmap`, `panels` and `width`.
        """
        return cls(
            trained.task, trained.predict, lambda inputs: trained.look_inside(inputs[0]), **options
        )

    def sample(self, **params: Any) -> Figure:
        """Draw a new sequence of the generator.

        Parameters
        ----------
        **params
            Sizes of the sequence, such as ``length=10``.

        Returns
        -------
        matplotlib.figure.Figure
        """
        inputs, outputs, *rest = self.generator.sample(batch_size=1, **params)
        return self.show(inputs, outputs, params, mask=rest[0] if rest else None)

    def show(
        self,
        example_input: ArrayLike,
        example_output: ArrayLike,
        params: Mapping[str, Any] | None = None,
        mask: ArrayLike | None = None,
    ) -> Figure:
        """Draw a given sequence.

        Parameters
        ----------
        example_input : array (1, T, F)
        example_output : array (1, T, O)
        params : dict, optional
            The sizes of the sequence, for the locations of the markers.
        mask : array (1, T), optional
            Weight of each step. Where it is zero the step does not count.

        Returns
        -------
        matplotlib.figure.Figure
        """
        inputs, outputs = np.asarray(example_input), np.asarray(example_output)
        for name, array in (("example_input", inputs), ("example_output", outputs)):
            if array.ndim != 3 or len(array) != 1:
                raise ValueError(
                    f"Dashboard: {name} must be one sequence, (1, time, features), not {array.shape}"
                )
        traces = _to_traces(self.ntm_layer_fn(inputs))
        for trace in traces:
            found = (trace.num_slots, trace.slot_width)
            if self.memory_shape is not None and found != tuple(self.memory_shape):
                raise ValueError(
                    f"Dashboard: memory_shape is {tuple(self.memory_shape)}, but the memory of {trace.name} is {found}"
                )
        return plot_dashboard(
            traces,
            inputs[0],
            outputs[0],
            np.asarray(self.ntm_fn(inputs))[0],
            self.panels,
            [
                {"location": location, "style": style}
                for location, style in _read_markers(self.markers, params or {})
            ],
            mask=None if mask is None else np.asarray(mask)[0],
            kind=getattr(self.generator, "output", "bits"),
            cmap=self.cmap,
            width=self.width,
        )


def _count_steps(traces: Sequence[Trace], given: Mapping[str, Array]) -> int:
    """Return the number of steps of traces and arrays; raise a `ValueError` if they differ."""
    counts = {f"the trace of {trace.name}": trace.num_steps for trace in traces}
    for name, values in given.items():
        if not values.ndim:
            raise ValueError(f"{name} must be of shape (steps, features), not a single number")
        counts[name] = len(values)
    if not counts:
        raise ValueError("there is nothing to draw: expected traces of memory layers, or inputs")
    (first, steps), *rest = counts.items()
    for name, count in rest:
        if count != steps:
            raise ValueError(f"{name} has {count} steps, and {first} has {steps}")
    for name, values in given.items():
        if values.ndim != 2:
            raise ValueError(f"{name} must be of shape ({steps}, features), not {values.shape}")
    return steps


def _choose_panels(
    panels: str | Sequence[str] | None, traces: Sequence[Trace], given: Mapping[str, Array]
) -> list[str]:
    """Return the names of the panels to draw; raise a `ValueError` if there is nothing to draw in one asked for."""
    known = [*SEQUENCE_PANELS, *PANELS]
    present = [
        name
        for name in known
        if name in given
        or (name in PANELS and any(list_inside_panels(trace, [name], 0) for trace in traces))
    ]
    if panels is None:
        return [name for name in DEFAULT_PANELS if name in present]
    if isinstance(panels, str):
        if panels == "all":
            return present
        panels = [panels]
    for name in panels:
        check_choice("panel", name, known)
        if name not in present:
            what = " or ".join(dict.fromkeys(trace.kind for trace in traces)) or "sequence"
            raise ValueError(
                f"there is nothing to draw in the panel {name!r} of this {what}; expected of: {', '.join(present)}"
            )
    return list(panels)


def _list_sequence_panels(
    given: Mapping[str, Array], mask: ArrayLike | None, kind: str, size: float
) -> list[Panel]:
    """List the panels of input, target and prediction; right and wrong steps are marked where both are there."""
    plain = dict(given)
    panels: list[Panel] = []
    answers: list[Panel] = []
    if "target" in given and "prediction" in given:
        targets, predictions = plain.pop("target"), plain.pop("prediction")
        if targets.shape != predictions.shape:
            raise ValueError(
                f"prediction must be of shape {targets.shape}, as target, not {predictions.shape}"
            )
        counted = np.ones(len(targets), bool) if mask is None else np.asarray(mask) != 0
        answers = Answers(kind, targets, predictions, counted, size).list_panels()
    for name, values in plain.items():
        if name != "input" and mask is not None:
            values = np.where(np.asarray(mask)[:, None] != 0, values, np.nan)
        panels += list_input_panels({name: values}, {}, None, size)
    return panels + answers


def _read_markers(
    markers: Sequence[Any], params: Mapping[str, Any]
) -> list[tuple[float, dict[str, Any]]]:
    """Return the location of each marker, and how its line is drawn."""
    found = []
    for marker in markers:
        described = marker if isinstance(marker, Mapping) else {"location": marker}
        if "location" not in described:
            raise ValueError(f"a marker must have a location, a time step; not {marker!r}")
        location = described["location"]
        location = location(params) if callable(location) else location
        style = {
            "color": "black",
            "linestyle": "--",
            "linewidth": 0.8,
            **described.get("style", {}),
        }
        found.append((float(location), style))
    return found


def _to_traces(values: Any) -> list[Trace]:
    """Return traces as they are, or a trace made of the details of a memory layer, (1, T, ...) each."""
    values = [values] if isinstance(values, Trace) else list(values)
    if all(isinstance(each, Trace) for each in values):
        return values
    if len(values) < 5:
        raise ValueError(
            "Dashboard: ntm_layer_fn must give traces, or the details of a memory layer (get_details=True): memory, "
            f"hidden, state, write weights and read weights, not {len(values)} values"
        )
    memory, hidden, _, writes, reads = (np.asarray(each)[0] for each in values[:5])
    heads = []
    for kind, weights in (("write", writes), ("read", reads)):
        count = weights.shape[1]
        for k in range(count):
            name = f"{kind} {k + 1}" if count > 1 else kind
            heads.append(HeadTrace(name, kind == "write", weights[:, k], weights[:, k]))
    num_slots, width = memory.shape[1:]
    states = {"controller": hidden}
    return [Trace("memory", "memory", num_slots, width, heads, memory, states)]
