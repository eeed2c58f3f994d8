"""What the settings of all training runs have in common: the update rule, batches, back end and devices."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from pytensor.compile.mode import Mode

import lasagne
from lasagne.backends.modes import BACKENDS, get_mode
from lasagne.devices import ALL, MOST, reserve_devices, start_devices
from lasagne.layers import Layer
from lasagne.processes import Processes
from ntm.data import Layout
from ntm.experiments.networks import MODELS, Network, get_model_options
from ntm.experiments.options import Option, check_options, get_options, option
from ntm.interruption import stop_on_signals
from ntm.tasks import Task
from ntm.training.division import AUTO, Division
from ntm.training.schedules import SCHEDULES, make_schedule
from ntm.training.trainer import Trainer
from ntm.updates import centered_rmsprop, graves_rmsprop

OPTIMIZERS: dict[str, Callable] = {
    "centered-rmsprop": centered_rmsprop,
    "graves-rmsprop": graves_rmsprop,
    "adam": lasagne.updates.adam,
    "rmsprop": lasagne.updates.rmsprop,
    "sgd": lasagne.updates.sgd,
}

#: Names of the options of a network in files of earlier versions
OLD_OPTIONS = {
    "ntm": {
        "write_gate_bias": "write_interpolation_bias",
        "read_gate_bias": "read_interpolation_bias",
    }
}


@dataclass(kw_only=True)
class TrainingSettings(ABC):
    """Base class of the settings of a training run. JSON can hold every field that is an option.

    Subclasses have the fields `model`, a name in :data:`ntm.experiments.MODELS`, and `model_options`, a dict.
    """

    seed: int = option(
        1,
        "seed of the parameters, the sequences and everything else that is random",
        low=0,
        high=2**32 - 1,
    )
    batch_size: int = option(1, "sequences in a training step", low=1, high=1_000_000)
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
    rewind: bool = option(
        True, "return to the best parameters, with a lower learning rate, when the loss rises"
    )
    num_buckets: int = option(
        1, "number of lengths that batches are padded to; each is compiled once", low=1
    )
    evaluate_every: int = option(
        0,
        "steps between evaluations during training; 0 for one at the end only, or for data one after each epoch",
        low=0,
    )
    log_every: int = option(100, "steps between rows in metrics.jsonl", low=1)
    save_every: int = option(
        1000, "steps between checkpoints; for data there is one after each epoch, too", low=1
    )
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

    def _check(self, known: Mapping[str, Option]) -> None:
        """Check all settings, each by its description; network options by those of the network."""
        label = type(self).__name__
        for name, value in check_options(label, self.to_json(), known).items():
            setattr(self, name, value)
        for name, each in known.items():
            value = getattr(self, name)
            if each.kind is dict and not all(isinstance(key, str) for key in value):
                raise ValueError(f"{name} must have names as keys, not {value!r}")
        # Fields of subclasses
        own: Any = self
        for name in own.model_options:
            if name in OLD_OPTIONS.get(own.model, {}):
                raise ValueError(
                    f"{own.model} has no option {name!r} any more: it is {OLD_OPTIONS[own.model][name]!r} now"
                )
        if own.model_options.get("nearest") == "hashing":  # The old name
            own.model_options = {**own.model_options, "nearest": "lsh"}
        own.model_options = check_options(
            own.model, own.model_options, get_model_options(own.model)
        )

    def to_json(self) -> dict[str, Any]:
        """Return what a file holds of the settings: each by its name."""
        kind: Any = type(self)
        return {name: copy.deepcopy(getattr(self, name)) for name in get_options(kind)}

    @abstractmethod
    def accepts(self, found: Mapping[str, Any]) -> bool:
        """Tell whether the settings in a checkpoint are those of this run; a missing setting has its default.

        Raises
        ------
        AttributeError, TypeError, ValueError
            If they are no settings.
        """

    @abstractmethod
    def build_network(self) -> Layer:
        """Return the network of the run, its parameters drawn by the seed."""

    @abstractmethod
    def list_sizes(self) -> list[tuple[str, Any]]:
        """Return the names and values of what may be too large in the settings of a stranger."""

    @abstractmethod
    def _make_trainer(self, processes: Processes | None) -> Trainer:
        """Return the trainer, with the network and what it is trained on."""

    def with_own_data(self) -> Self:
        """Return the settings with the data of their own seed, after the seed was changed."""
        return self

    def get_given_options(self) -> dict[str, Any]:
        """Return the options of the network that differ from its own defaults."""
        own: Any = self
        return own.model_options

    def get_network(self) -> Network:
        """Return the network's options, from which it is built."""
        own: Any = self
        return MODELS[own.model](**own.model_options)

    @property
    def network_name(self) -> str:
        """The kind of network, with its controller if there is one, such as "ntm dense"."""
        own: Any = self
        controller = getattr(self.get_network(), "controller", None)
        return " ".join(filter(None, [own.model, controller]))

    def make_network(self, data: Task | Layout, restart: int = 0) -> Layer:
        """Return the network for a task or data, its parameters drawn by the seed and the number of the restart."""
        rng = lasagne.random.get_rng()
        seed = [self.seed, restart] if restart else self.seed
        lasagne.random.set_rng(np.random.RandomState(seed))
        try:
            return self.get_network().build(data)
        finally:
            lasagne.random.set_rng(rng)

    def make_trainer(self, processes: Processes | None = None) -> Trainer:
        """Return the trainer, with the network and what it is trained on.

        Parameters
        ----------
        processes : Processes, optional
            The processes that train the network together.

        Raises
        ------
        KeyboardInterrupt
            If the process was told to stop meanwhile, by Ctrl-C, SIGTERM or SIGHUP.
        """
        with stop_on_signals() as stop:
            trainer = self._make_trainer(processes)
            stop.check()
        return trainer

    def _get_trainer_options(
        self, total: int | None, processes: Processes | None
    ) -> dict[str, Any]:
        """Return arguments of the trainer. A cosine ends after `total` steps unless its own `total` is given."""
        options = self.schedule_options
        if self.schedule == "cosine" and total is not None:
            options = {"total": max(total, 1), **options}
        return {
            "update": OPTIMIZERS[self.optimizer],
            "learning_rate": self.learning_rate,
            "schedule": make_schedule(self.schedule, self.warmup, options),
            "clip_value": self.clip_value,
            "clip_norm": self.clip_norm,
            "rewind": self.rewind,
            "num_buckets": self.num_buckets,
            "seed": self.seed,
            "mode": self.get_mode(processes),
            "block_size": self.block_size,
            "devices": self.devices,
            "processes": processes,
        }

    def get_mode(self, processes: Processes | None = None) -> Mode:
        """Return what functions are compiled with. Where JAX has not started, the CPU gets its devices before.

        Parameters
        ----------
        processes : Processes, optional
            The processes that train the network together: they have their devices already.

        Raises
        ------
        ValueError
            If there is no such device, or there are not so many.
        """
        if processes is not None:
            return get_mode(self.backend, self.device)
        if self.backend == "jax" and self.batch_size > 1 and self.devices != 1:
            reserve_devices(ALL if self.devices == AUTO else self.devices)
        mode = get_mode(self.backend, self.device)
        if self.backend == "jax" and isinstance(self.devices, int):
            start_devices(self.devices, self.device and self.device.partition(":")[0])
        return mode

    def divided_as(self, division: Division) -> Self:
        """Return the settings of a run that has begun: what was chosen for `auto` is written into them."""
        return replace(self, **division._asdict())

    def may_be(self, other: Self) -> bool:
        """Tell whether a run of these settings may have begun with those: `auto` stands for any choice."""
        names = [name for name in ("block_size", "devices") if getattr(self, name) in (AUTO, ALL)]
        return replace(self, **{name: getattr(other, name) for name in names}) == other


def rename_options(model: Any, options: Any) -> Any:
    """Return the options of a network in a file, with the names that they have now."""
    if not isinstance(options, dict):
        return options
    old = OLD_OPTIONS.get(model, {})
    return {old.get(name, name): value for name, value in options.items()}
