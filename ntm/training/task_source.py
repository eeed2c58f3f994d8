"""Batches of a task, of the sizes that a curriculum wants."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from ntm.tasks import Batch, Task
from ntm.training.curricula import make_curriculum

__all__ = ["TaskSource"]


class TaskSource:
    """Draws the batches of a task.

    Parameters
    ----------
    task : Task
    curriculum : str
        One of :data:`ntm.training.CURRICULA`.
    curriculum_options : dict or None
        Arguments of that curriculum.
    num_buckets : int
        How many lengths batches are padded to.
    seed : int
        Of the curriculum's choices.

    Attributes
    ----------
    curriculum : Curriculum
    epoch : int
        Always zero: sequences are new at each step.
    num_sequences : int
        Sequences drawn so far.
    """

    #: Tasks can be drawn anew from a state, and their sequences do not go on from batch to batch
    can_seek, can_begin_anew, is_stream, steps_per_epoch, epoch = True, True, False, None, 0

    def __init__(
        self,
        task: Task,
        curriculum: str,
        curriculum_options: Mapping[str, Any] | None,
        num_buckets: int,
        seed: int,
    ) -> None:
        self.task, self.num_buckets = task, num_buckets
        rng = np.random.default_rng([seed, 0])
        self.curriculum = make_curriculum(curriculum, task.sizes, rng, curriculum_options)
        self._initial = copy.deepcopy(self.curriculum.get_state())

    def draw(self) -> Batch:
        """Draw the next batch, of the sizes that the curriculum wants."""
        # The step is compiled for longer batches only when the curriculum reaches the next power of two
        reach = min(2 ** (self.curriculum.reach - 1).bit_length(), self.curriculum.num_levels)
        batch = self.task.sample(**self.curriculum.draw(self.task.batch_size))
        longest = self.task.num_steps(**self.curriculum.sizes_at(reach))
        return batch.pad_to_bucket(longest, self.num_buckets)

    def restart(self) -> None:
        """Begin the curriculum anew; sequences go on being new."""
        self.curriculum.set_state(copy.deepcopy(self._initial))

    def get_state(self) -> dict[str, Any]:
        """Return the state of the task's generator and of the curriculum, as JSON takes it."""
        return {
            "task": self.task.get_state(),
            "curriculum": self.curriculum.get_state(),
            "curriculum_rng": self.curriculum.rng.bit_generator.state,
        }

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Raise a `ValueError` if a state, whose parts are of the right types, is of another curriculum."""
        level, num_levels = state["curriculum"]["level"], self.curriculum.num_levels
        log_weights = state["curriculum"].get("log_weights", range(num_levels))
        if not 1 <= level <= num_levels or len(log_weights) != num_levels:
            raise ValueError(
                f"the state is of another curriculum: {num_levels} levels, not {level}"
            )

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of :meth:`get_state`; leave everything as it is if a generator's state is damaged."""
        rng, before = copy.deepcopy(self.curriculum.rng), self.task.get_state()
        try:
            rng.bit_generator.state = state["curriculum_rng"]
            self.task.set_state(state["task"])
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            self.task.set_state(before)
            raise ValueError(f"the state of a random generator is damaged: {error}") from error
        self.curriculum.set_state(state["curriculum"])
        self.curriculum.rng = rng
