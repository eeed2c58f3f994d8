"""What a network takes for a batch: its inputs, and a mask of the steps where layers have one.

Notation: B sequences in a batch, T steps, F input and O output features.
"""

import warnings
from typing import Any, cast

import numpy as np

from lasagne.layers import (
    BatchNormLayer,
    InputLayer,
    Layer,
    SliceLayer,
    StandardizationLayer,
    get_all_layers,
    get_output,
)
from lasagne.utils import is_float
from ntm.data import Epochs, Source
from ntm.data.layout import SINGLE, DataBatch, InputLayout, Layout
from ntm.data.seeking import fill_rows
from ntm.layers.stepping import (
    find_carrying_layers,
    find_stateful_layers,
    get_output_and_states,
    has_mask,
)
from ntm.prediction.arrays import count_symbols
from ntm.prediction.steps import find_time_axis
from ntm.tasks import Batch, Task
from ntm.typing import Array, ArrayLike, Tensor


def get_layout(task: Task) -> Layout:
    """Return what the sequences of a task look like."""
    return Layout({SINGLE: InputLayout((task.num_inputs,))}, task.output, task.num_outputs, True)


class NetworkInputs:
    """The variables that a network takes, and the arrays that a batch has for them.

    An input layer that is the `mask_input` of layers gets a mask (B, T): one up to the end of a sequence, zero in its
    padding. Where there is one other input, it gets the one input of the data. Where there are several, each gets the
    input of its name.

    Integers without features, such as symbols, go to an input layer of integers (B, T) as they are, to one of numbers
    (B, T, 1) as numbers, and to one of V > 1 features one-hot.

    Parameters
    ----------
    l_out : Layer
        The network's last layer: (B, T, O), or (B, O) where there is one target a sequence.
    layout : Layout
        What the data look like.
    caller : str
        The class or function that error messages begin with.
    owner : str
        What the data are of, for messages.

    Attributes
    ----------
    layers : dict from str to InputLayer
        The input layer of each input, by its name in the layout.
    inputs : dict from str to tensor
        The variable of each input, by its name in the layout.
    step_masks : list of tensor (B, T)
        The masks that layers take: none, one or several.
    batch_size, num_steps : int or None
        The sequences and steps of the batches that the network was made for; None if it takes any number.

    Raises
    ------
    TypeError
        If `l_out` is no layer.
    ValueError
        If the network has not the inputs or the outputs of the layout.
    """

    def __init__(self, l_out: Layer, layout: Layout, caller: str, owner: str = "the data") -> None:
        if not isinstance(l_out, Layer):
            raise TypeError(f"{caller}: l_out must be the last layer of a network, not {l_out!r}")
        self._label, self._layout = caller, layout
        time_axis = find_time_axis(l_out)
        variables = dict.fromkeys(layer.input_var for layer in time_axis.masks)
        self.step_masks: list[Tensor] = [cast(Tensor, variable) for variable in variables]
        found = [layer for layer in time_axis.inputs if layer not in time_axis.masks]
        self.layers = self._match(found, layout)
        for name, layer in self.layers.items():
            self._check_input(layer.output_shape, is_float(layer.input_var), name, layout, owner)
        self._check_output(l_out.output_shape, layout, owner)
        self._num_symbols = {name: count_symbols(l_out, each) for name, each in self.layers.items()}
        for name, size in self._num_symbols.items():
            if size is not None and layout.inputs[name].num_symbols > size:
                raise ValueError(
                    f"{caller}: {owner} has symbols from 0 to {layout.inputs[name].num_symbols - 1}, and the network "
                    f"knows {size}"
                )
        self.inputs = {name: cast(Tensor, each.input_var) for name, each in self.layers.items()}
        self._l_out, self._owner = l_out, owner
        self.batch_size = get_batch_size(l_out)
        steps = [
            layer.output_shape[1]
            for name, layer in self.layers.items()
            if layout.inputs[name].has_time
        ]
        self.num_steps: int | None = next((size for size in steps if size is not None), None)
        self._mixing = find_mixing(l_out, bool(time_axis.masks), self.num_steps)
        # A layer of which is not known whether it mixes steps, such as one of the user's own
        self._may_mix = None if _is_slice(time_axis.mixing) else time_axis.mixing

    def _match(self, layers: list[InputLayer], layout: Layout) -> dict[str, InputLayer]:
        """Return the input layer of each input of the layout."""
        names = list(layout.inputs)
        if len(layers) == 1 == len(names):
            return {names[0]: layers[0]}
        if len(names) == 1:
            raise ValueError(
                f"{self._label}: the network must have one input besides masks of layers, not {len(layers)}: "
                f"{', '.join(map(repr, layers))}"
            )
        by_name = {layer.name: layer for layer in layers}
        if len(by_name) < len(layers) or by_name.keys() != set(names):
            given = ", ".join(repr(layer.name) for layer in layers)
            raise ValueError(
                f"{self._label}: the network's input layers are named {given}, and the inputs of the data "
                f"{', '.join(map(repr, names))}: each input layer must have the name of one input"
            )
        return {name: by_name[name] for name in names}

    def _check_input(
        self, shape: Any, takes_numbers: bool, name: str, layout: Layout, owner: str
    ) -> None:
        """Raise a `ValueError` unless an input layer of a shape takes an input of the data."""
        each = layout.inputs[name]
        which = "" if len(layout.inputs) == 1 else f" as {name!r}"
        axes = ("batch", "time") if each.has_time else ("batch",)
        features = shape[len(axes) :]
        if not takes_numbers:
            if not each.is_integer:
                raise ValueError(
                    f"{self._label}: the network takes integers{which}, and {owner} has other numbers"
                )
            fits = len(shape) == len(axes) + len(each.features)
        elif not each.features:
            size = features[0] if len(features) == 1 else None
            fits = size is not None and (
                size == 1 or (each.is_integer and size >= each.num_symbols)
            )
        else:
            fits = len(features) == len(each.features)
        if each.features:
            fits = fits and all(
                a is None or a == b for a, b in zip(features, each.features, strict=True)
            )
        if (
            not fits
            and takes_numbers
            and each.is_integer
            and len(shape) == len(axes) + len(each.features)
        ):
            raise ValueError(
                f"{self._label}: the network takes numbers of shape {shape}{which}, and {owner} has integers: for an "
                "EmbeddingLayer give the input layer input_var=pytensor.tensor.imatrix()"
            )
        if not fits:
            expected = each.features or ((each.num_symbols,) if each.num_symbols else (1,))
            count = expected[0] if len(expected) == 1 else expected
            is_symbol = each.is_integer and not each.features
            has = f"symbols from 0 to {each.num_symbols - 1}" if is_symbol else f"{count} features"
            raise ValueError(
                f"{self._label}: the network takes {shape}{which}, but {owner} has {has}: expected "
                f"({', '.join([*axes, *map(str, expected)])})"
            )

    def _check_output(self, shape: Any, layout: Layout, owner: str) -> None:
        """Raise a `ValueError` unless a network of an output shape gives what the targets are."""
        size = layout.num_outputs
        axes = [3] if layout.per_step else [2, 3]
        if size is None or (len(shape) in axes and shape[-1] == size):
            return
        expected = " or ".join(f"(batch, {'time, ' * (count - 2)}{size})" for count in axes)
        raise ValueError(
            f"{self._label}: the network gives {shape}, but {owner} has {size} features, as the targets are "
            f"{layout.kind}: expected {expected}"
        )

    # ---- Batches

    def check_source(self, source: Source) -> None:
        """Raise a `ValueError` unless the network takes the batches of a source."""
        if source.is_stream and not find_carrying_layers(self._l_out):
            raise ValueError(
                f"{self._label}: {self._owner} are windows of long series, and no layer of the network has a state to "
                "carry from window to window: expected a recurrent or memory layer"
            )
        for size, given, what in (
            (self.batch_size, source.batch_size, "sequences"),
            (self.num_steps, source.longest, "steps"),
        ):
            if size is not None and (given > size or (source.is_stream and given != size)):
                raise ValueError(
                    f"{self._label}: the network takes batches of {size} {what}, and {self._owner} come in batches of "
                    f"{given}: give that size of the input layer as None, or make such batches"
                )
        padded = source.find_padded() if isinstance(source, Epochs) else None
        if padded is not None:
            self._check_padding(f"sequence {padded} of {self._owner} is padded")

    def warn_of_padding(self, source: Source) -> None:
        """Warn if the padding or filling of batches may change what the network learns."""
        if not isinstance(source, Epochs):
            return
        is_padded = source.find_padded() is not None
        if is_padded and self._may_mix is not None and self.num_steps is None:
            warnings.warn(
                f"{self._label}: sequences are padded, and {self._may_mix!r} may mix the steps of a sequence with "
                "those of its padding: make sure that it takes each step by itself, or give sequences of one length",
                stacklevel=3,
            )
        layers = [each for each in get_all_layers(self._l_out) if isinstance(each, BatchNormLayer)]
        if layers and (is_padded or len(source.dataset) % source.batch_size):
            warnings.warn(
                f"{self._label}: {layers[0]!r} takes the mean and variance of a batch, in which padded steps and "
                f"sequences that fill a last batch count, too: expected {self._owner} of one length, in batches whose "
                "size divides the number of sequences; or another normalisation, such as lasagne.layers.layer_norm",
                stacklevel=3,
            )

    def fit(self, batch: DataBatch) -> DataBatch:
        """Return a batch, filled and padded to the size that the network was made for.

        Raises
        ------
        ValueError
            If the batch is larger, or is padded where the network's output would depend on the padding.
        """
        for size, given, what in (
            (self.batch_size, batch.shape[0], "sequences"),
            (self.num_steps, batch.shape[1], "steps"),
        ):
            if size is not None and given > size:
                raise ValueError(
                    f"{self._label}: the network takes batches of {size} {what}, and the batch has {given}"
                )
        if self.batch_size is not None and batch.resets is None:
            batch = fill_rows(batch, self.batch_size)
        if self.num_steps is not None:
            batch = pad_steps(batch, self.num_steps, self._layout)
        if self._mixing is not None and not np.asarray(batch.step_mask).all():
            row = int(np.argmin(np.asarray(batch.step_mask).all(axis=1)))
            self._check_padding(f"sequence {row} of the batch is padded")
        return batch

    def _check_padding(self, where: str) -> None:
        """Raise a `ValueError` if the network's output depends on the padding of sequences."""
        if self._mixing is not None:
            raise ValueError(
                f"{self._label}: {where}, and {self._mixing!r} does not tell a sequence from its padding: expected a "
                "network that gives (batch, time, outputs), of which the last step of each sequence counts, or a "
                "recurrent or memory layer with only_return_final=True, or sequences of one length"
            )

    def find_need_of_length(self, masks_layers: bool) -> str | None:
        """Return why the network's outputs depend on how far sequences are padded, None if they do not.

        Parameters
        ----------
        masks_layers : bool
            Whether recurrent and memory layers without a `mask_input` get a mask where they need one: see
            :func:`compute_output`.
        """
        layers = get_all_layers(self._l_out)
        found = self._mixing or self._may_mix
        if found is None:
            found = next((each for each in layers if isinstance(each, BatchNormLayer)), None)
        if found is None and not masks_layers:
            found = next(
                (
                    each
                    for each in find_stateful_layers(self._l_out)
                    if (each.backwards or each.only_return_final) and not has_mask(each)
                ),
                None,
            )
        return None if found is None else f"{found!r} does not tell a sequence from its padding"

    @property
    def variables(self) -> list[Tensor]:
        """All variables that the network takes: the inputs, then the masks."""
        return [*self.inputs.values(), *self.step_masks]

    def cast(self, batch: Batch | DataBatch) -> list[Array]:
        """Return the values of `variables` for a batch."""
        given = {SINGLE: batch.inputs} if isinstance(batch, Batch) else batch.inputs
        arrays = [self._cast(name, given[name]) for name in self.inputs]
        return arrays + (self.cast_step_mask(batch.step_mask) if self.step_masks else [])

    def _cast(self, name: str, array: Array) -> Array:
        variable, shape = self.inputs[name], self.layers[name].output_shape
        if array.ndim == len(shape):
            if (known := self._num_symbols[name]) is not None:
                self._check_symbols(name, array, known)
            return np.asarray(array, variable.dtype)
        size = shape[-1]
        assert size is not None  # see `_check_input`
        if size == 1:
            return np.asarray(array[..., None], variable.dtype)
        self._check_symbols(name, array, size)
        return (array[..., None] == np.arange(size)).astype(variable.dtype)

    def _check_symbols(self, name: str, array: Array, size: int) -> None:
        """Raise a `ValueError` if a batch has a symbol that the network does not know."""
        if array.size and array.max() >= size:
            index = tuple(map(int, np.argwhere(array >= size)[0]))
            raise ValueError(
                f"{self._label}: {name}{list(index)} of the batch is {array[index]}: expected 0 to {size - 1}"
            )

    def cast_step_mask(self, step_mask: ArrayLike) -> list[Array]:
        """Return the values of the network's masks: a mask (B, T) in the data type of each of them."""
        return [np.asarray(step_mask, mask.dtype) for mask in self.step_masks]


def get_batch_size(l_out: Layer) -> int | None:
    """Return the batch size that a network was made for, None if it takes batches of any size."""
    layers = [each for each in get_all_layers(l_out) if isinstance(each, InputLayer)]
    return next((each.output_shape[0] for each in layers if each.output_shape[0] is not None), None)


def compute_output(l_out: Layer, step_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
    """Return a network's output, in which sequences end where their own steps end.

    Layers that run backwards, and those whose last step is taken, would begin or end in the padding. Then all recurrent
    and memory layers without a `mask_input` get a mask.

    Parameters
    ----------
    l_out : Layer
    step_mask : tensor (B, T), optional
        One up to the end of a sequence, zero in its padding.
    **kwargs
        Passed on to the layers.
    """
    layers = [each for each in find_stateful_layers(l_out) if not has_mask(each)]
    needs_mask = any(each.backwards or each.only_return_final for each in layers)
    needs_mask |= bool(layers) and len(l_out.output_shape) == 2
    if step_mask is None or not needs_mask:
        return get_output(l_out, **kwargs)
    return get_output_and_states(l_out, step_mask=step_mask, **kwargs)[0]


def find_mixing(l_out: Layer, takes_mask: bool, num_steps: int | None) -> Layer | None:
    """Return a layer because of which a network's output depends on the padding of sequences, None if none is known.

    Recurrent and memory layers end where sequences end: see :func:`compute_output`. Of the other layers, only those are
    found that are certain to mix steps.

    Parameters
    ----------
    l_out : Layer
    takes_mask : bool
        Whether layers take a mask as an input, and so may leave the padding out.
    num_steps : int or None
        Where all sequences are padded to the same number of steps, the padding is an input like others.
    """
    layers = get_all_layers(l_out)
    mixing = next((layer for layer in layers if _is_mixing(layer)), None)
    if mixing is not None or takes_mask or num_steps is not None or len(l_out.output_shape) != 2:
        return mixing
    has_time = any(isinstance(each, InputLayer) and len(each.output_shape) > 2 for each in layers)
    ends = any(getattr(each, "only_return_final", False) or _is_slice(each) for each in layers)
    return l_out if has_time and not ends else None


def _is_mixing(layer: Any) -> bool:
    if isinstance(layer, StandardizationLayer):
        return len(layer.input_shape) > 2 and 1 in layer.axes
    if not _is_slice(layer):
        return False
    below = layer.input_layer
    while below is not None and not hasattr(below, "backwards"):
        below = getattr(below, "input_layer", None)
    # With a mask, a recurrent layer repeats the output of its last step in the padding
    is_end = below is not None and layer.slice == (0 if below.backwards else -1)
    return layer.slice != 0 and not is_end


def _is_slice(layer: Any) -> bool:
    """Return whether a layer takes one of the steps of sequences."""
    is_slice = isinstance(layer, SliceLayer) and isinstance(layer.slice, int)
    return is_slice and len(layer.input_shape) > 2 and layer.axis % len(layer.input_shape) == 1


def pad_steps(batch: DataBatch, num_steps: int, layout: Layout) -> DataBatch:
    """Return a batch padded at its end to a number of steps."""
    count = num_steps - batch.shape[1]

    def pad(array: Array) -> Array:
        return np.pad(array, [(0, 0), (0, count), *[(0, 0)] * (array.ndim - 2)])

    if count == 0:
        return batch
    inputs = {
        name: pad(array) if layout.inputs[name].has_time else array
        for name, array in batch.inputs.items()
    }
    return batch._replace(
        inputs=inputs,
        targets=pad(batch.targets) if layout.per_step else batch.targets,
        mask=pad(batch.mask),
        step_mask=pad(batch.step_mask),
    )
