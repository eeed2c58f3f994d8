"""Evaluation: what a network predicts, how well it does on a task, and what its heads and memory do meanwhile.

No training function is built here, so that a trained network is measured without compiling a gradient.

Notation: B sequences in a batch, T steps, F input and O output features.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pytensor
from pytensor.compile.mode import Mode

from lasagne.backends.modes import get_mode
from lasagne.layers import Layer, get_output
from ntm.arguments import Number
from ntm.prediction.inspection import Inspector
from ntm.prediction.probabilities import predictions
from ntm.tasks import Batch, Task
from ntm.traces import Trace
from ntm.training.inputs import NetworkInputs
from ntm.training.losses import check_last_nonlinearity, reduce_losses
from ntm.training.objective import as_objective
from ntm.typing import Array, ArrayLike

__all__ = ["Evaluator"]


class Evaluator:
    """Measures a network on a task.

    Functions are compiled when they are first needed, on the JAX back end for each new shape of a batch.

    Parameters
    ----------
    l_out : Layer
        As of :class:`ntm.training.Trainer`: (B, T, O), logits or numbers.
    task : Task
    mode : pytensor Mode, optional
        What functions are compiled with, :func:`ntm.get_mode` unless given.
    seed : int
        Of the sequences that are measured: the same seed gives the same sequences.
    solved_below : float, optional
        The task counts as solved below this value of its measure, instead of below the task's own threshold.

    Attributes
    ----------
    solved : pair of str and float
        The measure by which the task counts as solved, and its threshold.
    """

    def __init__(
        self,
        l_out: Layer,
        task: Task,
        mode: Mode | None = None,
        seed: int = 0,
        solved_below: float | None = None,
    ) -> None:
        self._objective = as_objective(task, "Evaluator")
        owner = self._objective.name
        self._network = NetworkInputs(l_out, self._objective.layout, "Evaluator", owner)
        check_last_nonlinearity(l_out, task.output, "Evaluator", owner)
        self.l_out, self.task = l_out, task
        self.mode = get_mode() if mode is None else mode
        self.seed = Number(int, 0).check("Evaluator: seed", seed)
        name, threshold = task.solved
        if solved_below is not None:
            threshold = Number(float).check("Evaluator: solved_below", solved_below)
        self.solved = name, threshold

    def predict(
        self, inputs: ArrayLike, chunk: int = 100, step_mask: ArrayLike | None = None
    ) -> Array:
        """Predict the targets of sequences.

        Parameters
        ----------
        inputs : array (B, T, F)
        chunk : int
            How many sequences are predicted at a time.
        step_mask : array (B, T), optional
            One at the steps of a sequence, zero in its padding. All ones unless given. It is used by networks that take
            a mask.

        Returns
        -------
        array (B, T, O)
            Probabilities of ones, classes or digits, or the numbers themselves.

        Raises
        ------
        ValueError
            If an array has another shape, or `chunk` is not positive.
        """
        chunk = Number(int, 1).check("Evaluator.predict: chunk", chunk)
        inputs = self._check_inputs("predict", inputs)
        masks = self._network.cast_step_mask(
            np.ones(inputs.shape[:2]) if step_mask is None else step_mask
        )
        for mask in masks:
            if mask.shape != inputs.shape[:2]:
                raise ValueError(
                    f"Evaluator.predict: step_mask must be of shape {inputs.shape[:2]}, not {mask.shape}"
                )
        if len(inputs) == 0:
            return np.zeros((*inputs.shape[:2], self.task.num_outputs), "float32")
        parts = [
            np.asarray(self._predict(*(array[k : k + chunk] for array in (inputs, *masks))))
            for k in range(0, len(inputs), chunk)
        ]
        return np.concatenate(parts)

    def measure(self, batch: Batch, chunk: int = 100) -> dict[str, float]:
        """Measure a batch.

        Parameters
        ----------
        batch : Batch
        chunk : int
            As of :meth:`predict`.

        Returns
        -------
        dict from str to float
            Each of the task's measures, the mean over the sequences of the batch.

        Raises
        ------
        ValueError
            If the targets of the batch are not finite where they count.
        """
        batch.check_targets("Evaluator.measure")
        predicted = self.predict(batch.inputs, chunk, batch.step_mask)
        measures = self.task.measure(predicted, batch)
        return {name: float(np.mean(values)) for name, values in measures.items()}

    def evaluate(
        self,
        sizes: Mapping[str, int] | None = None,
        num_sequences: int = 100,
        num_steps: int | None = None,
        draw: int = 0,
    ) -> dict[str, float]:
        """Measure new sequences, the same at each call; the task's own generator is left as it is.

        Parameters
        ----------
        sizes : dict from str to int, optional
            Sizes of the sequences. A size that is not given is drawn as in training.
        num_sequences : int
        num_steps : int, optional
            Steps to pad to, so that several sizes share one compilation: see :meth:`count_steps`.
        draw : int
            Another number gives other sequences.

        Returns
        -------
        dict from str to float
            Each of the task's measures, the mean over the sequences.
        """
        draw = Number(int, 0).check("Evaluator.evaluate: draw", draw)
        rng = np.random.default_rng([self.seed, 1, draw])
        return self.measure(self.task.sample(num_sequences, num_steps, rng, **(sizes or {})))

    def count_steps(self, sizes: Iterable[Mapping[str, int]]) -> int | None:
        """Return the steps of the longest of some sizes, None if there are none.

        A size that is not given counts as the largest in training.
        """
        complete = [self.task.complete_sizes(each) for each in sizes]
        return max((self.task.num_steps(**each) for each in complete), default=None)

    def look_inside(self, inputs: ArrayLike) -> list[Trace]:
        """Trace what the heads and the memory of each memory layer do with one sequence.

        Parameters
        ----------
        inputs : array (T, F)

        Returns
        -------
        list of Trace
            As of :func:`ntm.look_inside`.
        """
        return self._inspector.look_inside(inputs)

    def is_solved(self, num_sequences: int = 2000, draw: int = 1) -> bool:
        """Tell whether new sequences of the training sizes have the measure by which the task counts as solved.

        Parameters
        ----------
        num_sequences : int
        draw : int
            As of :meth:`evaluate`.
        """
        name, threshold = self.solved
        measured = self.evaluate(
            num_sequences=num_sequences, num_steps=self.task.longest, draw=draw
        )
        return measured[name] < threshold

    def compute_loss(self, batch: Batch) -> float:
        """Return the mean loss of a batch, in nats or as squared error: what training lowers, without its noise."""
        return float(self._loss(*self._network.cast(batch), *self._objective.cast(batch)))

    def _check_inputs(self, method: str, inputs: ArrayLike) -> Array:
        inputs = np.asarray(inputs, dtype="float32")
        if inputs.ndim != 3 or inputs.shape[2] != self.task.num_inputs:
            raise ValueError(
                f"Evaluator.{method}: inputs must be of shape (batch, time, {self.task.num_inputs}), "
                f"not {inputs.shape}"
            )
        return inputs

    # ---- Compiled functions

    @cached_property
    def _predict(self) -> Callable[..., Any]:
        outputs = get_output(self.l_out, deterministic=True)
        return pytensor.function(
            self._network.variables, predictions(self.task.output, outputs), mode=self.mode
        )

    @cached_property
    def _loss(self) -> Callable[..., Any]:
        losses = self._objective.compute(get_output(self.l_out, deterministic=True))
        variables = [*self._network.variables, *self._objective.variables]
        return pytensor.function(variables, reduce_losses(losses), mode=self.mode)

    @cached_property
    def _inspector(self) -> Inspector:
        return Inspector(self.l_out, self.mode)
