"""What a network is trained for: the loss of each sequence of a batch, for tasks and for a user's data.

Notation: B sequences in a batch, T steps, O output features.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytensor
import pytensor.tensor as pt

from lasagne.independence import DependenceError, check_independence
from lasagne.layers import Layer
from ntm.arguments import check_choice
from ntm.data.layout import DataBatch, InputLayout, Layout
from ntm.tasks import TASKS, Batch, Task
from ntm.training.inputs import get_layout
from ntm.training.losses import get_unit, sequence_loss
from ntm.typing import Array, ArrayLike, Tensor

__all__ = [
    "DataObjective",
    "LossFunction",
    "Objective",
    "TaskObjective",
    "as_objective",
    "fit_layout",
]

#: From a network's outputs, the targets and the weights of the steps to the loss of each sequence, (B,)
LossFunction: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


class Objective(ABC):
    """Base class: which arrays of a batch a loss takes, and the loss.

    Attributes
    ----------
    layout : Layout
        What a network must take and give.
    name : str
        What the data are of, for messages.
    batch_size, longest : int
        Sequences and steps of the largest batch, by which a batch is divided into blocks.
    unit : float
        Nats per unit of the reported loss: ln 2 for bits, 1 for nats and squared errors.
    is_weighted : bool
        Whether batches have a weight for each sequence.
    variables : list of tensors (B, ...)
        What the loss takes besides the outputs.
    step_mask : tensor (B, T) or None
        One of `variables`: one up to the end of a sequence, zero in its padding.
    """

    layout: Layout
    name: str
    batch_size: int
    longest: int
    unit: float
    is_weighted: bool
    variables: list[Tensor]
    step_mask: Tensor | None = None

    @abstractmethod
    def compute(self, outputs: Tensor) -> Tensor:
        """Return the loss of each sequence, (B,), in nats or as squared error, from a network's outputs."""

    @abstractmethod
    def cast(self, batch: Any) -> list[Array]:
        """Return the values of `variables` for a batch."""


class TaskObjective(Objective):
    """The loss of a task, summed over the steps of a sequence."""

    is_weighted = False

    def __init__(self, task: Task) -> None:
        self.layout, self.name = get_layout(task), type(task).__name__
        self.batch_size, self.longest = task.batch_size, task.longest
        self.unit = get_unit(task.output)
        self.variables = [pt.tensor3("targets"), pt.matrix("mask")]

    def compute(self, outputs: Tensor) -> Tensor:
        return sequence_loss(self.layout.kind, outputs, *self.variables)

    def cast(self, batch: Batch) -> list[Array]:
        return [batch.targets, batch.mask]


class DataObjective(Objective):
    """The loss of a user's data.

    The loss of a sequence is the weighted mean over its steps: the cross-entropy in nats, or the squared error. Bits
    and numbers are also averaged over the outputs. Where there is one target a sequence, the target is compared with
    the output at the sequence's last step, or with the output of a network that gives one.

    Parameters
    ----------
    layout : Layout
    loss : callable, optional
        Instead: ``loss(outputs, targets, mask)`` returns the loss of each sequence, (B,). The shapes are (B, T, O) and
        (B, T), or (B, O) and (B, 1) where there is one target a sequence. The mask holds the weights of the steps.
    class_weights : array (O,), optional
        What the loss of each class is multiplied by.
    batch_size, longest : int
        Sequences and steps of the largest batch.
    caller : str
        The class that error messages begin with.
    data_layout : Layout, optional
        The layout of the data, where the loss takes their targets as others than they are: see :func:`fit_layout`.

    Raises
    ------
    TypeError, ValueError
        If the targets need a loss function and none is given, or class weights do not fit.
    """

    name = "the data"
    unit = 1.0
    is_weighted = True
    step_mask: Tensor

    def __init__(
        self,
        layout: Layout,
        loss: LossFunction | None = None,
        class_weights: ArrayLike | None = None,
        batch_size: int = 1,
        longest: int = 1,
        caller: str = "DataObjective",
        data_layout: Layout | None = None,
    ) -> None:
        if loss is not None and not callable(loss):
            raise TypeError(
                f"{caller}: loss must be a function of outputs, targets and mask, not {loss!r}"
            )
        if layout.kind == "own" and loss is None:
            raise ValueError(
                f"{caller}: the data are of the kind 'own': give loss=, a function of outputs, targets and mask"
            )
        if layout.kind == "classes" and layout.num_outputs == 1 and loss is None:
            raise ValueError(
                f"{caller}: the targets are of a single class, whose loss is always zero: expected labels of at least "
                "two classes, or data of kind='bits' or kind='numbers'"
            )
        self.layout, self.loss = layout, loss
        self.data_layout = layout if data_layout is None else data_layout
        self.batch_size, self.longest = batch_size, longest
        self.class_weights = _check_class_weights(class_weights, layout, caller)
        self._label = caller
        self._targets = self._make_targets()
        self._mask, self.step_mask = pt.matrix("mask"), pt.matrix("step_mask")
        self.variables = [self._targets, self._mask, self.step_mask]

    def _make_targets(self) -> Any:
        layout = self.layout
        ndim, dtype = 2 + layout.per_step, None
        if layout.kind == "classes":
            ndim, dtype = ndim - 1, "int32"
        elif layout.targets is not None:
            ndim = 1 + layout.per_step + len(layout.targets.features)
            dtype = "int32" if layout.targets.is_integer else None
        return pt.tensor("targets", shape=(None,) * ndim, **({"dtype": dtype} if dtype else {}))

    def compute(self, outputs: Tensor) -> Tensor:
        targets, mask = self._targets, self._mask
        if not self.layout.per_step:
            outputs = self.take_last(outputs)
            mask = pt.ones_like(self._mask[:, :1])
        if self.loss is not None:
            losses = self.loss(outputs, targets, mask)
            if getattr(losses, "ndim", None) != 1:
                raise ValueError(
                    f"{self._label}: loss must return the loss of each sequence, a vector (B,), not "
                    f"{losses!r}" + (f" with {losses.ndim} axes" if hasattr(losses, "ndim") else "")
                )
            self._check_independence([outputs, targets, mask])
            return losses
        if not self.layout.per_step:
            outputs, targets = outputs[:, None], targets[:, None]
        count = mask.sum(axis=1)
        if self.layout.kind == "classes":
            targets = pt.eq(targets[..., None], pt.arange(outputs.shape[-1]))
            targets = targets.astype(outputs.dtype)
            if self.class_weights is not None:
                mask = mask * (targets * self.class_weights).sum(axis=2)
        else:
            assert self.layout.num_outputs is not None
            count = count * self.layout.num_outputs
        losses = sequence_loss(self.layout.kind, outputs, targets, mask)
        # A sequence of which no step counts has no loss
        return losses / pt.switch(pt.eq(count, 0), 1, count)

    def _check_independence(self, given: list[Any]) -> None:
        """Warn if the user's loss of a sequence depends on other sequences, as by a sum over the wrong axis."""
        variables = [variable.type() for variable in given]
        assert self.loss is not None
        try:
            check_independence([self.loss(*variables)], variables)
        except DependenceError as error:
            warnings.warn(
                f"{self._label}: loss must return the loss of each sequence, (B,): "
                f"{str(error).removeprefix('accumulate_gradients: ')}",
                stacklevel=5,
            )

    def take_last(self, outputs: Tensor) -> Tensor:
        """Return the output at the last step of each sequence, (B, O), of (B, T, O); (B, O) stays."""
        if outputs.ndim == 2:
            return outputs
        steps = pt.arange(outputs.shape[1])
        is_last = pt.eq(steps, self.step_mask.sum(axis=1, keepdims=True) - 1)
        # Not a product: outputs in the padding may be anything
        return pt.switch(is_last[..., None], outputs, 0).sum(axis=1)

    def cast(self, batch: DataBatch) -> list[Array]:
        arrays = batch.targets, batch.mask, batch.step_mask
        return [
            np.asarray(array, variable.dtype)
            for array, variable in zip(arrays, self.variables, strict=True)
        ]


def fit_layout(l_out: Layer, layout: Layout, loss: LossFunction | None = None) -> Layout:
    """Return the layout of data for a network: with all of the network's classes, and for a loss of the user's own.

    A network may have more classes than the labels that data have. With a loss of the user's own a network may give
    something else than the targets are, such as a mean and a variance.
    """
    size = l_out.output_shape[-1] if isinstance(l_out, Layer) else None
    if size is None or size == layout.num_outputs or layout.num_outputs is None:
        return layout
    is_label = layout.kind == "classes"
    if loss is not None:
        features = () if is_label else (layout.num_outputs,)
        targets = InputLayout(features, is_integer=is_label)
        return layout._replace(kind="own", num_outputs=None, targets=targets)
    return layout._replace(num_outputs=size) if is_label and size > layout.num_outputs else layout


def _check_class_weights(weights: ArrayLike | None, layout: Layout, caller: str) -> Any:
    """Return weights of classes as the loss takes them."""
    if weights is None:
        return None
    if layout.kind != "classes":
        raise ValueError(
            f"{caller}: class_weights are for targets that are classes, and these are {layout.kind}"
        )
    array = np.asarray(weights)
    if array.dtype.kind not in "iuf" or array.shape != (layout.num_outputs,):
        raise ValueError(
            f"{caller}: class_weights must be {layout.num_outputs} numbers, one for each class, not {weights!r}"
        )
    if not (np.isfinite(array).all() and (array >= 0).all() and array.any()):
        raise ValueError(
            f"{caller}: class_weights must be finite, not negative and not all zero, not {weights!r}"
        )
    return pt.constant(array.astype(pytensor.config.floatX))


def as_objective(given: Any, caller: str) -> Objective:
    """Return the objective that is given, or that of a task.

    Raises
    ------
    TypeError
        If it is no task.
    """
    if isinstance(given, Objective):
        return given
    if isinstance(given, str):
        check_choice("task", given, TASKS)
        raise TypeError(
            f"{caller}: task must be a task, not its name {given!r}: expected ntm.tasks.{TASKS[given].__name__}()"
        )
    if not isinstance(given, Task):
        raise TypeError(
            f"{caller}: task must be a task, such as ntm.tasks.CopyTask(), not {given!r}"
        )
    return TaskObjective(given)
