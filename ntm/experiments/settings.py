"""The settings of a training run on a task: what each of them is, and what is made from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lasagne.layers import Layer, get_all_params
from lasagne.processes import Processes
from ntm.arguments import check_choice, is_integer
from ntm.experiments.defaults import find_block, merge_settings
from ntm.experiments.networks import MODELS
from ntm.experiments.options import (
    check_options,
    document_options,
    get_options,
    get_task_options,
    option,
)
from ntm.experiments.own_tasks import check_own_task, name_task
from ntm.experiments.training_settings import OPTIMIZERS, TrainingSettings, rename_options
from ntm.tasks import TASKS, Task
from ntm.training.curricula import CURRICULA
from ntm.training.recovery import Restarter
from ntm.training.trainer import Trainer
from ntm.typing import Array

__all__ = ["OPTIMIZERS", "Settings", "make_settings"]

#: Bytes that the arrays of a batch take at most; a network needs a multiple
MAX_BATCH = 2**32

#: Names of settings in files of earlier versions
OLD_SETTINGS = {"solved_below": "stop_below"}


@document_options
@dataclass
class Settings(TrainingSettings):
    """Everything that a training run on a task is made from. JSON can hold every field.

    The settings of a run on a task of the user's own need the class beside its name: `own_task`.

    Raises
    ------
    ValueError
        If a value is of another type, outside its range or none of its choices, or an option is not one of the task or
        network.
    """

    task: str = option(help="the task", choices=TASKS)
    model: str = option("ntm", "the network", choices=MODELS)
    task_options: dict = option(
        help="options of the task that differ from its own defaults", factory=dict
    )
    model_options: dict = option(
        help="options of the network that differ from its own defaults", factory=dict
    )
    max_steps: int = option(
        20_000, "training steps at most, counted from the last restart if there was one", low=0
    )
    curriculum: str = option(
        "uniform", "how the sizes of the sequences grow in training", choices=CURRICULA
    )
    curriculum_options: dict = option(help="options of the curriculum", factory=dict)
    restart_after: int = option(
        0,
        "steps after which to re-initialise the parameters and begin anew if the loss is still above --restart-above, "
        "at most ten times; 0 for never",
        low=0,
    )
    restart_above: float | None = option(None, "loss threshold for --restart-after", above=0)
    stop_below: float | None = option(
        None,
        "training ends once the task's measure is below this; None for the value at which the task counts as solved",
        above=0,
    )
    solve_every: int = option(
        200, "steps between checks whether training can end (see --stop-below); 0 for never", low=0
    )
    evaluate_at: list = option(
        help="sizes to evaluate at: a list of dicts from name to size", factory=list
    )

    #: The class of a task of the user's own. It is no setting, and in no file
    own_task: type[Task] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = get_options(Settings)
        if self.task not in TASKS:
            check_own_task(self.task, self.own_task)
            known = known | {"task": replace(known["task"], choices=())}
        elif self.own_task not in (None, TASKS[self.task]):
            raise ValueError(f"the task is {self.task}, not {name_task(self.own_task)}")
        self._check(known)
        for sizes in self.evaluate_at:
            if not isinstance(sizes, dict) or not all(
                is_integer(size) and size > 0 for size in sizes.values()
            ):
                raise ValueError(
                    f"evaluate_at must be dicts from names of sizes to positive integers, not {sizes!r}"
                )
        self.task_options = check_options(
            self.task, self.task_options, get_task_options(self.task_class)
        )
        if self.restart_after and self.restart_above is None:
            raise ValueError(
                f"restart_after {self.restart_after} needs restart_above: the loss above which training begins anew, "
                "in bits per sequence or as a squared error"
            )

    @property
    def task_class(self) -> type[Task]:
        """The class of the task."""
        return self.own_task or TASKS[self.task]

    @classmethod
    def from_json(cls, found: Mapping[str, Any], own_task: type[Task] | None = None) -> "Settings":
        """Return the settings in a file, of an earlier version too.

        Parameters
        ----------
        found : dict
        own_task : type, optional
            The class of the user's own that the task in the file names.

        Raises
        ------
        TypeError, ValueError
            If they are none.
        """
        given = {OLD_SETTINGS.get(name, name): value for name, value in found.items()}
        # Before there were blocks and devices
        given = {"block_size": None, "devices": 1, **given}
        if given.get("own_task") is None:  # As `dataclasses.asdict` writes it
            given.pop("own_task", None)
        if "model_options" in given:
            given["model_options"] = rename_options(
                given.get("model", "ntm"), given["model_options"]
            )
        return cls(**given, own_task=own_task)

    def accepts(self, found: Mapping[str, Any]) -> bool:
        return Settings.from_json(found, self.own_task) == self

    def make_task(self) -> Task:
        """Return the task, whose sequences are drawn by the seed."""
        return self.task_class(
            batch_size=self.batch_size,  # type: ignore[call-arg] # Subclasses take these names
            seed=self.seed,
            **self.task_options,
        )

    def build_network(self) -> Layer:
        return self.make_network(self.make_task())

    def list_sizes(self) -> list[tuple[str, Any]]:
        given = [self.task_options, *self.evaluate_at]
        return [each for one in given for each in one.items()]

    def _make_trainer(self, processes: Processes | None) -> Trainer:
        task = self.make_task()
        self.check_batch(task)
        return Trainer(
            self.make_network(task),
            task,
            curriculum=self.curriculum,
            curriculum_options=self.curriculum_options,
            restarter=self._make_restarter(task),
            solved_below=self.stop_below,
            **self._get_trainer_options(self.max_steps, processes),
        )

    def check_batch(self, task: Task) -> None:
        """Raise a `ValueError` if a batch of the task takes more memory than any machine has."""
        size = 4 * self.batch_size * task.longest * (task.num_inputs + task.num_outputs + 1)
        if size > MAX_BATCH:
            raise ValueError(
                f"a batch of {self.batch_size:,} sequences of up to {task.longest:,} steps takes {size / 2**30:,.0f} "
                "GiB: choose a smaller batch_size, or shorter sequences"
            )

    def _make_restarter(self, task: Task) -> Restarter | None:
        if not self.restart_after or self.restart_above is None:
            return None

        def redraw(restart: int) -> list[Array]:
            network = self.make_network(task, restart)
            return [param.get_value() for param in get_all_params(network)]

        return Restarter(redraw, self.restart_after, self.restart_above)


def make_settings(task: str | type[Task], model: str = "ntm", **given: Any) -> Settings:
    """Return the settings for a task and a network: the defaults, and what is given instead.

    Parameters
    ----------
    task : str or type
        A name in :data:`ntm.tasks.TASKS`, or a class of tasks of the user's own.
    model : str
        A name in :data:`ntm.experiments.MODELS`.
    **given
        Fields of :class:`Settings`. Dicts among them are merged with the defaults; the default options of a schedule or
        curriculum are left out where another one is given.
    """
    own_task = None
    if isinstance(task, type):
        kind, task = task, name_task(task)
        own_task = None if task in TASKS else kind
    else:
        check_choice("task", task, TASKS)
    check_choice("model", model, MODELS)
    controller = given.get("model_options", {}).get("controller")
    merged = merge_settings(find_block(task, model, controller), given)
    return Settings(task=task, model=model, **merged, own_task=own_task)
