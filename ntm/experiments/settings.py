"""The settings of a training run: what each of them is, and what is made from them."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pytensor.compile.mode import Mode

import lasagne
from lasagne.backends.modes import BACKENDS, get_mode
from lasagne.devices import ALL, MOST, reserve_devices, start_devices
from lasagne.layers import Layer, get_all_params
from ntm.arguments import check_choice, is_integer
from ntm.data import Layout
from ntm.experiments.defaults import Block, find_block
from ntm.experiments.networks import MODELS, Network, get_model_options
from ntm.experiments.options import (
    check_options,
    document_options,
    get_options,
    get_task_options,
    option,
)
from ntm.experiments.own_tasks import check_own_task, name_task
from ntm.interruption import stop_on_signals
from ntm.tasks import TASKS, Task
from ntm.training.curricula import CURRICULA
from ntm.training.division import AUTO, Division
from ntm.training.recovery import Restarter
from ntm.training.schedules import SCHEDULES, make_schedule
from ntm.training.trainer import Trainer
from ntm.typing import Array
from ntm.updates import centered_rmsprop, graves_rmsprop

OPTIMIZERS: dict[str, Callable] = {
    "centered-rmsprop": centered_rmsprop,
    "graves-rmsprop": graves_rmsprop,
    "adam": lasagne.updates.adam,
    "rmsprop": lasagne.updates.rmsprop,
    "sgd": lasagne.updates.sgd,
}

#: Bytes that the arrays of a batch take at most; a network needs a multiple
MAX_BATCH = 2**32

#: Names of settings in files of earlier versions
OLD_SETTINGS = {"solved_below": "stop_below"}
#: Names of the options of a network in files of earlier versions
OLD_OPTIONS = {
    "ntm": {
        "write_gate_bias": "write_interpolation_bias",
        "read_gate_bias": "read_interpolation_bias",
    }
}


@document_options
@dataclass
class Settings:
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
    seed: int = option(
        1,
        "seed of the parameters, the sequences and everything else that is random",
        low=0,
        high=2**32 - 1,
    )
    batch_size: int = option(1, "sequences in a training step", low=1, high=1_000_000)
    max_steps: int = option(
        20_000, "training steps at most, counted from the last restart if there was one", low=0
    )
    optimizer: str = option("centered-rmsprop", "update rule", choices=OPTIMIZERS)
    learning_rate: float = option(1e-4, "learning rate", above=0)
    schedule: str = option(
        "constant", "learning-rate schedule; cosine ends at --max-steps", choices=SCHEDULES
    )
    schedule_options: dict = option(help="options of the learning-rate schedule", factory=dict)
    warmup: int = option(0, "steps over which the learning rate rises at the start", low=0)
    clip_value: float | None = option(
        1.0, "largest size of an element of a gradient; None for no clipping", above=0
    )
    clip_norm: float | None = option(
        None, "largest norm of all gradients together; None for no clipping", above=0
    )
    curriculum: str = option(
        "uniform", "how the sizes of the sequences grow in training", choices=CURRICULA
    )
    curriculum_options: dict = option(help="options of the curriculum", factory=dict)
    rewind: bool = option(
        True, "return to the best parameters, with a lower learning rate, when the loss rises"
    )
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
    num_buckets: int = option(
        1, "number of lengths that batches are padded to; each is compiled once", low=1
    )
    solve_every: int = option(
        200, "steps between checks whether training can end (see --stop-below); 0 for never", low=0
    )
    evaluate_every: int = option(
        0, "steps between evaluations during training; 0 for one at the end only", low=0
    )
    evaluate_at: list = option(
        help="sizes to evaluate at: a list of dicts from name to size", factory=list
    )
    log_every: int = option(100, "steps between rows in metrics.jsonl", low=1)
    save_every: int = option(1000, "steps between checkpoints", low=1)
    backend: str = option("jax", "back end that functions are compiled for", choices=BACKENDS)
    device: str | None = option(
        None, "device for jax: cpu, gpu, gpu:1, ...; None for the one that JAX prefers"
    )

    block_size: int | str | None = option(
        AUTO,
        "sequences of a batch that run at once, at most; auto chooses, when the run begins, blocks that fit the "
        "processor's cache; None is the whole batch; results differ by rounding, and dropout draws other numbers",
        low=1,
        words=[AUTO],
    )
    devices: int | str = option(
        AUTO,
        "CPU cores or GPUs over which a batch is divided; auto takes as many CPU cores as the batch has blocks, all "
        "takes all devices; results differ by rounding alone",
        low=1,
        high=MOST,
        words=[AUTO, ALL],
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
        for name, value in check_options("Settings", self.to_json(), known).items():
            setattr(self, name, value)
        for name in ("task_options", "model_options", "schedule_options", "curriculum_options"):
            if not all(isinstance(key, str) for key in getattr(self, name)):
                raise ValueError(f"{name} must have names as keys, not {getattr(self, name)!r}")
        for sizes in self.evaluate_at:
            if not isinstance(sizes, dict) or not all(
                is_integer(size) and size > 0 for size in sizes.values()
            ):
                raise ValueError(
                    f"evaluate_at must be dicts from names of sizes to positive integers, not {sizes!r}"
                )
        for name in self.model_options:
            if name in OLD_OPTIONS.get(self.model, {}):
                raise ValueError(
                    f"{self.model} has no option {name!r} any more: it is {OLD_OPTIONS[self.model][name]!r} now"
                )
        if self.model_options.get("nearest") == "hashing":  # The old name
            self.model_options = {**self.model_options, "nearest": "lsh"}
        self.task_options = check_options(
            self.task, self.task_options, get_task_options(self.task_class)
        )
        self.model_options = check_options(
            self.model, self.model_options, get_model_options(self.model)
        )
        if self.restart_after and self.restart_above is None:
            raise ValueError(
                f"restart_after {self.restart_after} needs restart_above: the loss above which training begins anew, "
                "in bits per sequence or as a squared error"
            )

    def to_json(self) -> dict[str, Any]:
        """Return what a file holds of the settings: each by its name."""
        return {name: copy.deepcopy(getattr(self, name)) for name in get_options(Settings)}

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
        options = given.get("model_options")
        if isinstance(options, dict):
            old = OLD_OPTIONS.get(given.get("model", "ntm"), {})
            given["model_options"] = {old.get(name, name): value for name, value in options.items()}
        return cls(**given, own_task=own_task)

    def make_task(self) -> Task:
        """Return the task, whose sequences are drawn by the seed."""
        return self.task_class(
            batch_size=self.batch_size,  # type: ignore[call-arg] # Subclasses take these names
            seed=self.seed,
            **self.task_options,
        )

    def get_network(self) -> Network:
        """Return the network's options, from which it is built."""
        return MODELS[self.model](**self.model_options)

    def make_network(self, data: Task | Layout, restart: int = 0) -> Layer:
        """Return the network for a task or data, its parameters drawn by the seed and the number of the restart."""
        rng = lasagne.random.get_rng()
        seed = [self.seed, restart] if restart else self.seed
        lasagne.random.set_rng(np.random.RandomState(seed))
        try:
            return self.get_network().build(data)
        finally:
            lasagne.random.set_rng(rng)

    def make_trainer(self) -> Trainer:
        """Return the trainer, with task and network.

        Raises
        ------
        KeyboardInterrupt
            If the process was told to stop meanwhile, by Ctrl-C, SIGTERM or SIGHUP.
        """
        with stop_on_signals() as stop:
            trainer = self._make_trainer()
            stop.check()
        return trainer

    def _make_trainer(self) -> Trainer:
        task = self.make_task()
        self.check_batch(task)
        return Trainer(
            self.make_network(task),
            task,
            update=OPTIMIZERS[self.optimizer],
            learning_rate=self.learning_rate,
            schedule=make_schedule(self.schedule, self.warmup, self._get_schedule_options()),
            clip_value=self.clip_value,
            clip_norm=self.clip_norm,
            curriculum=self.curriculum,
            curriculum_options=self.curriculum_options,
            rewind=self.rewind,
            restarter=self._make_restarter(task),
            solved_below=self.stop_below,
            num_buckets=self.num_buckets,
            seed=self.seed,
            mode=self.get_mode(),
            block_size=self.block_size,
            devices=self.devices,
        )

    def get_mode(self) -> Mode:
        """Return what functions are compiled with. Where JAX has not started, the CPU gets its devices before.

        Raises
        ------
        ValueError
            If there is no such device, or there are not so many.
        """
        if self.backend == "jax" and self.batch_size > 1 and self.devices != 1:
            reserve_devices(ALL if self.devices == AUTO else self.devices)
        mode = get_mode(self.backend, self.device)
        if self.backend == "jax" and isinstance(self.devices, int):
            start_devices(self.devices, self.device and self.device.partition(":")[0])
        return mode

    def divided_as(self, division: Division) -> "Settings":
        """Return the settings of a run that has begun: what was chosen for `auto` is written into them."""
        return replace(self, **division._asdict())

    def may_be(self, other: "Settings") -> bool:
        """Tell whether a run of these settings may have begun with those: `auto` stands for any choice."""
        names = [name for name in ("block_size", "devices") if getattr(self, name) in (AUTO, ALL)]
        return replace(self, **{name: getattr(other, name) for name in names}) == other

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

    def _get_schedule_options(self) -> dict[str, Any]:
        """Return the schedule's options. A cosine ends with the training unless its own `total` is given."""
        if self.schedule != "cosine":
            return self.schedule_options
        return {"total": max(self.max_steps, 1), **self.schedule_options}


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
        own_task, task = task, name_task(task)
    else:
        check_choice("task", task, TASKS)
    check_choice("model", model, MODELS)
    controller = given.get("model_options", {}).get("controller")
    merged: Block = copy.deepcopy(find_block(task, model, controller))
    for name in ("curriculum", "schedule"):
        if given.get(name, merged.get(name)) != merged.get(name):
            merged.pop(f"{name}_options", None)
    for name, value in given.items():
        merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return Settings(task=task, model=model, **merged, own_task=own_task)
