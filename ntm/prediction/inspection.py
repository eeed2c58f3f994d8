"""What heads and memories of a network do with a sequence of a user's.

Notation: T time steps, F input features, N slots, M slot width.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode

from lasagne.layers import Layer, get_all_layers
from lasagne.layers._states import StatefulLayer
from lasagne.layers.helper import build_output
from ntm.arguments import Number
from ntm.layers.base import MemoryLayer
from ntm.layers.stepping import has_mask
from ntm.prediction.arrays import match_inputs
from ntm.prediction.rows import RowNetwork, Rows
from ntm.traces import Trace
from ntm.typing import Array, ArrayLike

__all__ = ["Inspector", "look_inside"]

#: The largest array of a trace, unless another bound is given: 256 MiB
MAX_BYTES = 2**28


def look_inside(
    l_out: Layer,
    inputs: Any,
    mask: ArrayLike | None = None,
    mode: Mode | None = None,
    max_bytes: int = MAX_BYTES,
) -> list[Trace]:
    """Trace what the heads and the memory of each memory layer do with one sequence.

    To look at several sequences, an :class:`ntm.prediction.Inspector` compiles once for all.

    Parameters
    ----------
    l_out : Layer
        The output layer of a network.
    inputs : array (T, F), or (T,) of integers
        One sequence. Of a network with several inputs, a dictionary from the name of each InputLayer to its values.
    mask : array (T,), optional
        Zero at the steps that layers with `mask_input` leave out; ones unless given.
    mode : pytensor Mode, optional
        What functions are compiled with, :func:`ntm.get_mode` unless given.
    max_bytes : int
        An array of all steps that would be larger is left out: the memory (T, N, M), or the links of a DNC.

    Returns
    -------
    list of Trace
        One for each :class:`ntm.layers.MemoryLayer`, those nearest to the input first; of a
        :class:`ntm.layers.SharedMemoryLayer`, one for each level.

    Raises
    ------
    ValueError, TypeError
        If the inputs are not what the network takes, as in :meth:`ntm.Predictor.predict`.

    Examples
    --------
    >>> import numpy as np
    >>> from lasagne.layers import DenseLayer, InputLayer
    >>> from ntm import NTMLayer, ReadHead, WriteHead, look_inside
    >>> l_in = InputLayer((None, None, 9))
    >>> l_ntm = NTMLayer(l_in, (128, 20), lambda l: DenseLayer(l, 100), [WriteHead, ReadHead])
    >>> (trace,) = look_inside(l_ntm, np.zeros((12, 9)))
    >>> trace.memory.shape, [head.name for head in trace.heads]
    ((12, 128, 20), ['write', 'read'])
    >>> trace.read_heads[0].weights.shape, trace.read_heads[0].parameters["gate"].shape
    ((12, 128), (12,))
    """
    return Inspector(l_out, mode, max_bytes).look_inside(inputs, mask)


class Inspector(RowNetwork):
    """Traces what the heads and the memories of a network do, as :func:`ntm.look_inside` does.

    Functions are compiled when they are first needed. As those of a :class:`ntm.Predictor`, they run sequences padded
    to a power of two of steps, where the layers allow it; no array shows the padding.

    Parameters
    ----------
    l_out, mode, max_bytes
        As of :func:`ntm.look_inside`.

    Raises
    ------
    ValueError, TypeError
        As of :class:`ntm.Predictor`.
    """

    caller = "look_inside"

    def __init__(self, l_out: Layer, mode: Mode | None = None, max_bytes: int = MAX_BYTES) -> None:
        super().__init__(l_out, mode)
        self.max_bytes = Number(int, 1).check("Inspector: max_bytes", max_bytes)
        self._layers = [each for each in get_all_layers(l_out) if isinstance(each, MemoryLayer)]
        self._functions: dict[Any, Any] = {}
        self._lock = threading.RLock()

    def look_inside(self, inputs: Any, mask: ArrayLike | None = None) -> list[Trace]:
        """Trace what the heads and the memory of each memory layer do with one sequence.

        Parameters
        ----------
        inputs, mask
            As of :func:`ntm.look_inside`.

        Returns
        -------
        list of Trace
        """
        given = match_inputs(self._inputs, inputs, self.caller)
        values = [
            [each.cast(each.read_one(array))]
            for each, array in zip(self._inputs, given, strict=True)
        ]
        counts = self.count_steps(values)
        count = int(counts[0])
        num_rows, num_steps = self.count_rows(1), self.count_padded_steps(count)
        rows = self.pad(values, counts, np.arange(1), num_steps, num_rows)
        notes = [self._find_too_large(layer, num_rows * num_steps) for layer in self._layers]
        with self._lock:
            function, traces = self._get_function(tuple(map(tuple, notes)))
            arrays = iter(function(*self._arrange_masked(rows, mask, count)))

        def take(_: Any) -> Array:
            return np.asarray(next(arrays))[0, :count]

        return [
            replace(trace.map(take), notes=tuple(notes[number].values()))
            for trace, number in traces
        ]

    def _find_too_large(self, layer: MemoryLayer, count: int) -> dict[str, str]:
        """Return the names of arrays that would be too large for so many steps of sequences, and a note for each."""
        itemsize = np.dtype(self.float_type).itemsize
        sizes = {name: count * size * itemsize for name, size in layer.trace_sizes.items()}
        return {
            name: f"{name} left out: {count} steps would take {size / 1e6:,.0f} MB, more than "
            f"max_bytes={self.max_bytes:,}"
            for name, size in sizes.items()
            if size > self.max_bytes
        }

    def _arrange_masked(self, rows: Rows, mask: ArrayLike | None, count: int) -> list[Array]:
        """Return the arguments of the compiled function; `mask` is for layers with a mask of their own."""
        if mask is None:
            return self.arrange(rows)
        if not self._time_axis.masks:
            raise ValueError(
                "look_inside: mask is for networks of which a layer has mask_input, and no layer has"
            )
        masks = np.zeros(rows.step_mask.shape, bool)
        masks[0, :count] = _check_mask(mask, count) != 0
        return self.arrange(rows, masks)

    def _get_function(self, left_out: tuple[tuple[str, ...], ...]) -> Any:
        """Return a compiled function that gives the arrays of traces, and these traces with the number of their layer.

        Parameters
        ----------
        left_out : tuple
            The names of the arrays that each memory layer leaves out.
        """
        if left_out not in self._functions:
            with pytensor.config.change_flags(floatX=self.float_type):
                self._functions[left_out] = self._compile(left_out)
        return self._functions[left_out]

    def _compile(self, left_out: Sequence[Sequence[str]]) -> Any:
        variables, given, step_mask = self.make_variables()
        traces: list[tuple[Trace, int]] = []

        def compute(layer: Any, below: Any, kwargs: dict[str, Any]) -> Any:
            if isinstance(layer, StatefulLayer) and not has_mask(layer):
                kwargs = kwargs | {"step_mask": step_mask}
            if isinstance(layer, MemoryLayer):
                number = self._layers.index(layer)
                mask: Any = pt.neq(below[1], 0) if has_mask(layer) else None
                traces.extend(
                    (replace(trace, mask=mask), number)
                    for trace in layer.get_traces_for(below, left_out[number], **kwargs)
                )
            return layer.get_output_for(below, **kwargs)

        build_output(self.l_out, given, {"deterministic": True}, compute, self.caller)
        results: list[Any] = []
        for trace, _ in traces:
            trace.map(results.append)
        function = pytensor.function(variables, results, mode=self.mode, on_unused_input="ignore")
        return function, _name_apart(traces)


def _name_apart(traces: list[tuple[Trace, int]]) -> list[tuple[Trace, int]]:
    """Return traces with another name each: those that have the same are numbered."""
    names = [trace.name for trace, _ in traces]
    numbered = [
        f"{name} {names[: k + 1].count(name)}" if names.count(name) > 1 else name
        for k, name in enumerate(names)
    ]
    return [
        (replace(trace, name=name), number)
        for (trace, number), name in zip(traces, numbered, strict=True)
    ]


def _check_mask(mask: ArrayLike, num_steps: int) -> Array:
    """Return a mask (T,), after checking it."""
    given = np.asarray(mask, dtype=float)
    if given.shape != (num_steps,):
        raise ValueError(
            f"look_inside: mask must be of shape ({num_steps},), a number for each step, not {given.shape}"
        )
    return given
