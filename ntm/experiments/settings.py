"""The settings of a training run, and their defaults for each task: the one place where they are."""

import inspect
from dataclasses import dataclass, field, fields
from types import NoneType
from typing import get_args

import numpy as np

import lasagne
from lasagne.backends.modes import get_mode
from lasagne.layers import get_all_params
from ntm.arguments import Number, check_choice, is_integer
from ntm.experiments.networks import MODELS, get_model_options
from ntm.interruption import stop_on_signals
from ntm.tasks import TASKS
from ntm.training.curricula import CURRICULA
from ntm.training.recovery import Restarter
from ntm.training.schedules import SCHEDULES, make_schedule
from ntm.training.trainer import Trainer
from ntm.updates import centered_rmsprop, graves_rmsprop

OPTIMIZERS = {
    "centered-rmsprop": centered_rmsprop,
    "graves-rmsprop": graves_rmsprop,
    "adam": lasagne.updates.adam,
    "rmsprop": lasagne.updates.rmsprop,
    "sgd": lasagne.updates.sgd,
}

#: What the settings may be that are numbers
RANGES = {
    "seed": Number(int, 0, 2**32 - 1),
    "batch_size": Number(int, 1, 1_000_000),
    "max_steps": Number(int, 0),
    "learning_rate": Number(float, above=0),
    "warmup": Number(int, 0),
    "clip_value": Number(float, above=0),
    "clip_norm": Number(float, above=0),
    "restart_after": Number(int, 0),
    "restart_above": Number(float, above=0),
    "solved_below": Number(float, above=0),
    "num_buckets": Number(int, 1),
    "solve_every": Number(int, 0),
    "evaluate_every": Number(int, 0),
    "log_every": Number(int, 1),
    "save_every": Number(int, 1),
}
#: Those among them that may be None
OPTIONAL = ("clip_value", "clip_norm", "restart_above", "solved_below")

#: Bytes that the arrays of a batch take at most; what a network makes of them takes a multiple
MAX_BATCH = 2**32


@dataclass
class Settings:
    """All that a training run is made from; JSON takes every field.

    Attributes
    ----------
    task, model : str
        Names in :data:`ntm.tasks.TASKS` and :data:`ntm.experiments.MODELS`.
    task_options, model_options : dict
        Further arguments of the task and of the function that builds the network.
    seed : int
        Of the parameters, the sequences and all else that is random.
    batch_size : int
        Sequences in a training step.
    max_steps : int
        Training steps at most, from where it last began anew.
    optimizer, learning_rate, schedule, schedule_options, warmup, clip_value, clip_norm
        See :class:`ntm.training.Trainer` and :func:`ntm.training.make_schedule`; `cosine` ends at `max_steps`.
    curriculum, curriculum_options
        See :mod:`ntm.training.curricula`.
    rewind : bool
        Whether to go back when training falls: :class:`ntm.training.Rewinder`.
    restart_after, restart_above : int, float or None
        Begin anew, with other parameters, if the loss after so many steps is not below this, ten times at most; 0 for
        never: :class:`ntm.training.Restarter`.
    solved_below : float or None
        What the measure has to be for the task to count as solved, and training to end; None for the task's own.
    num_buckets : int
        To how many lengths batches are padded.
    solve_every, evaluate_every : int
        After how many steps to see whether the task is solved, and to measure it at the sizes of `evaluate_at`.
    evaluate_at : list of dict
        Sizes to measure at, at the end and every `evaluate_every` steps.
    log_every, save_every : int
    backend, device
        See :func:`lasagne.backends.modes.get_mode`.
    """

    task: str
    model: str = "ntm"
    task_options: dict = field(default_factory=dict)
    model_options: dict = field(default_factory=dict)
    seed: int = 1
    batch_size: int = 1
    max_steps: int = 20_000
    optimizer: str = "centered-rmsprop"
    learning_rate: float = 1e-4
    schedule: str = "constant"
    schedule_options: dict = field(default_factory=dict)
    warmup: int = 0
    clip_value: float | None = 1.0
    clip_norm: float | None = None
    curriculum: str = "uniform"
    curriculum_options: dict = field(default_factory=dict)
    rewind: bool = True
    restart_after: int = 0
    restart_above: float | None = None
    solved_below: float | None = None
    num_buckets: int = 1
    solve_every: int = 200
    evaluate_every: int = 0
    evaluate_at: list = field(default_factory=list)
    log_every: int = 100
    save_every: int = 1000
    backend: str = "jax"
    device: str | None = None

    def __post_init__(self):
        for name, number in RANGES.items():
            value = getattr(self, name)
            if value is not None or name not in OPTIONAL:
                setattr(self, name, number.check(name, value))
        self._check_types()
        for name, known in (
            ("task", TASKS),
            ("model", MODELS),
            ("optimizer", OPTIMIZERS),
            ("curriculum", CURRICULA),
            ("schedule", SCHEDULES),
        ):
            check_choice(name, getattr(self, name), known)
        for kind, field_name, known in (
            (self.task, "task_options", get_task_options(self.task)),
            (self.model, "model_options", get_model_options(self.model)),
        ):
            options = dict(getattr(self, field_name))
            for name in options:
                if name not in known:
                    raise ValueError(
                        f"{kind} has no option {name!r}; its options are {', '.join(known)}"
                    )
            for name, value in options.items():
                if type(known[name]) in (
                    int,
                    float,
                ):  # Their ranges are checked where they are used
                    options[name] = Number(type(known[name])).check(name, value)
            setattr(self, field_name, options)
        if self.restart_after and self.restart_above is None:
            raise ValueError(
                f"restart_after {self.restart_after} needs restart_above: the loss, in bits a sequence or squared "
                "error, that begins training anew"
            )

    def _check_types(self):
        """Raise a `ValueError` if a field is of another type than it is declared to be."""
        for each in fields(self):
            kinds = get_args(each.type) or (each.type,)
            value = getattr(self, each.name)
            fits = isinstance(value, kinds) or (float in kinds and isinstance(value, int))
            if not fits or (isinstance(value, bool) and bool not in kinds):
                names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
                raise ValueError(f"{each.name} must be {names}, not {value!r}")
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

    def make_task(self):
        """The task, its sequences drawn by the seed."""
        return TASKS[self.task](batch_size=self.batch_size, seed=self.seed, **self.task_options)

    def make_network(self, task, restart=0):
        """The network for a task, its parameters drawn by the seed, or by it and the number of the restart."""
        rng = lasagne.random.get_rng()
        seed = [self.seed, restart] if restart else self.seed
        lasagne.random.set_rng(np.random.RandomState(seed))
        try:
            return MODELS[self.model](task, **self.model_options)
        finally:
            lasagne.random.set_rng(rng)

    def make_trainer(self):
        """The trainer, with task and network.

        Raises
        ------
        KeyboardInterrupt
            If the process was told to stop meanwhile, by Ctrl-C, SIGTERM or SIGHUP.
        """
        with stop_on_signals() as stop:
            trainer = self._make_trainer()
            stop.check()
        return trainer

    def _make_trainer(self):
        task = self.make_task()
        size = 4 * self.batch_size * task.longest * (task.num_inputs + task.num_outputs + 1)
        if size > MAX_BATCH:
            raise ValueError(
                f"a batch of {self.batch_size:,} sequences of up to {task.longest:,} steps takes {size / 2**30:,.0f} "
                "GiB: a smaller batch_size, or shorter sequences"
            )
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
            solved_below=self.solved_below,
            num_buckets=self.num_buckets,
            seed=self.seed,
            mode=get_mode(self.backend, self.device),
        )

    def _make_restarter(self, task):
        if not self.restart_after:
            return None

        def redraw(restart):
            network = self.make_network(task, restart)
            return [param.get_value() for param in get_all_params(network)]

        return Restarter(redraw, self.restart_after, self.restart_above)

    def _get_schedule_options(self):
        """The schedule's options; a cosine ends with the training unless its own `total` is given."""
        if self.schedule != "cosine":
            return self.schedule_options
        return {"total": max(self.max_steps, 1), **self.schedule_options}


def get_task_options(task):
    """The options of a task besides batch size and seed: a dict from name to default."""
    parameters = inspect.signature(TASKS[task]).parameters.values()
    return {
        each.name: each.default for each in parameters if each.name not in ("batch_size", "seed")
    }


def _lengths(*lengths):
    return [{"length": length} for length in lengths]


#: Steps that become a fiftieth of what they were
COSINE = {"schedule": "cosine", "schedule_options": {"last": 0.02}}

#: What differs for the tasks whose answer is a number
NUMBERS = {
    "batch_size": 16,
    "max_steps": 6000,
    "learning_rate": 5e-4,
    **COSINE,
    "solved_below": 0.01,
    "evaluate_at": _lengths(10, 20, 100),
}

#: Recurrent controllers and stacks of recurrent layers learn in batches
BATCHES = {
    "batch_size": 16,
    "max_steps": 5000,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    **COSINE,
    "clip_value": None,
    "clip_norm": 10.0,
}

#: What differs for the tasks on graphs. As in the paper, a tenth of the batches come from the levels so far
GRAPHS = {**BATCHES, "max_steps": 20_000, "curriculum": "look-back", "num_buckets": 4}

#: What differs from :class:`Settings` for each task
DEFAULTS: dict[str, dict] = {
    # With larger steps it is learnt sooner, but some seeds then fail at a vector of zeros once in a thousand sequences
    "copy": {
        "learning_rate": 5e-5,
        "evaluate_at": _lengths(10, 20, 40, 60, 80, 100, 120),
    },
    "reversed-copy": {"max_steps": 40_000, "evaluate_at": _lengths(10, 20, 40, 80)},
    "upside-down-copy": {"max_steps": 40_000, "evaluate_at": _lengths(10, 20, 40, 80)},
    "repeat-copy": {
        # Counted out in ones, the number of repeats lies in the memory like all else
        "task_options": {"unary": True},
        "max_steps": 20_000,
        "learning_rate": 2e-4,
        **COSINE,
        "clip_norm": 10.0,
        "curriculum": "hardest-last",
        "curriculum_options": {"advance_below": 0.02},
        "solved_below": 5e-4,
        "num_buckets": 4,
        "evaluate_at": [
            {"length": 10, "repeats": 10},
            {"length": 10, "repeats": 20},
            {"length": 20, "repeats": 10},
        ],
    },
    "associative-recall": {
        "batch_size": 16,
        "max_steps": 6000,
        "learning_rate": 5e-4,
        # Large steps to find how, small ones to get it right: with large ones it comes to rely on the number of items.
        # It goes on after it is solved, for lists longer than in training
        "schedule": "cosine",
        "solved_below": 1e-4,
        "evaluate_at": [{"items": items} for items in (6, 12, 20)],
    },
    "dynamic-ngrams": {
        **BATCHES,
        "max_steps": 8000,
        "solved_below": 2.0,
        "evaluate_at": _lengths(200),
    },
    "priority-sort": {
        # From two vectors to twenty: with twenty from the start nothing is learnt
        "task_options": {"min_items": 2},
        "batch_size": 16,
        "max_steps": 6000,
        "learning_rate": 5e-4,
        **COSINE,
        "curriculum": "linear",
        "curriculum_options": {"every": 200},
        "num_buckets": 4,
        "evaluate_at": [{"items": 20}],
    },
    "sort": {
        "batch_size": 16,
        "max_steps": 25_000,
        "learning_rate": 5e-4,
        **COSINE,
        "solved_below": 0.01,
        "evaluate_at": _lengths(5, 10),
    },
    "dyck-words": {
        "batch_size": 16,
        "max_steps": 5000,
        "learning_rate": 3e-4,
        **COSINE,
        "solved_below": 3e-4,
        "evaluate_at": _lengths(5, 10, 20),
    },
    "addition": NUMBERS,
    "argmax": NUMBERS,
    "graph-traversal": {
        **GRAPHS,
        "evaluate_at": [
            {"nodes": nodes, "length": length} for nodes, length in ((5, 2), (10, 4), (15, 6))
        ],
    },
    "shortest-path": {
        **GRAPHS,
        "evaluate_at": [
            {"nodes": nodes, "length": length} for nodes, length in ((5, 2), (10, 3), (15, 4))
        ],
    },
}

#: Heads that at first write slot after slot and read by content. A memory that is blurred, or read at a wrong place, is
#: noise to begin with, and some seeds learn to leave it alone
IN_ORDER = {
    "write_gate_bias": -3.0,
    "write_shift_bias": 4.0,
    "read_gate_bias": 2.0,
    "nonlinearity_add": "tanh",
}

#: The same for a DNC: it takes free slots, keeps what it reads, and reads on in the order of writing
DNC_IN_ORDER = {
    "write_gate_bias": 3.0,
    "allocation_gate_bias": 4.0,
    "free_gate_bias": -4.0,
    "forward_bias": 3.0,
}
#: And for a SAM, which has no order to read in: it takes slots that have not been used for long
SAM_IN_ORDER = {"write_gate_bias": 3.0, "interpolation_gate_bias": -4.0}

#: For triples of ninety ones and zeros, with a slot for each edge
GRAPH_MEMORY = {"num_units": 256, "memory_slots": 64, "memory_width": 50}

#: What differs from these for a task (or all, ``"*"``) and a model, or a model and its controller
DEFAULTS_OF_MODELS: dict[tuple[str, str], dict] = {
    # An LSTM can ask for an item as a whole. Dense layers see one vector of it, which another item may have too
    ("associative-recall", "ntm"): {"model_options": {"controller": "lstm", **IN_ORDER}},
    # With an LSTM the network knows in which phase it is; some seeds then generalise, of dense layers none did
    ("reversed-copy", "ntm"): {"model_options": {"controller": "lstm"}},
    # Dense layers keep count in the memory; an LSTM counts by itself, as far as it had to. Some networks go on writing
    # as they read: there have to be slots for as many steps as there are
    # One set of first parameters in three finds out how in 8000 steps, and generalises; one that is slower does not
    ("repeat-copy", "ntm"): {
        "restart_after": 8000,
        "restart_above": 0.1,
        # Rare mistakes, one in thousands of sequences, go away as the steps become small
        "solved_below": 2e-4,
        "model_options": {"num_units": 200, "num_heads": 2, "memory_slots": 256, **IN_ORDER},
    },
    # A slot for each context, found by content from the start. In an empty memory all slots are alike
    ("dynamic-ngrams", "ntm"): {
        "model_options": {
            "controller": "lstm",
            "memory_slots": 64,
            "memory_std": 0.5,
            "write_gate_bias": 3.0,
            "read_gate_bias": 3.0,
        }
    },
    ("priority-sort", "ntm"): {"model_options": {"num_units": 256, "num_heads": 2, **IN_ORDER}},
    ("sort", "ntm"): {
        "model_options": {"controller": "lstm", "num_units": 256, "num_heads": 2, **IN_ORDER}
    },
    # To sort is to read by content, not in the order of writing
    ("sort", "dnc"): {"max_steps": 40_000, "model_options": {"forward_bias": 0.0}},
    ("argmax", "ntm"): {"model_options": {"controller": "lstm"}},
    ("copy", "lstm"): BATCHES,
    ("copy", "gru"): BATCHES,
    # A sparse memory wants many slots: what has been read, empty or not, is taken for writing last of all
    ("*", "dnc"): {"model_options": {"memory_slots": 64, **DNC_IN_ORDER}},
    ("*", "sam"): {"model_options": {"memory_slots": 512, **SAM_IN_ORDER}},
    ("*", "sdnc"): {"model_options": {"memory_slots": 512, **SAM_IN_ORDER, "forward_bias": 3.0}},
    ("copy", "dnc"): {"learning_rate": 1e-4, "evaluate_at": _lengths(10, 20, 40, 60)},
    ("copy", "sdnc"): {"learning_rate": 1e-4},
    ("copy", "sam"): {
        "batch_size": 8,
        "max_steps": 10_000,
        "learning_rate": 2e-4,
        **COSINE,
        "clip_norm": 10.0,
        "solved_below": 0.005,
    },
    # Items that differ in a bit are told apart late
    ("associative-recall", "sam"): {
        "max_steps": 20_000,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "clip_value": None,
        "clip_norm": 10.0,
        "model_options": {"num_reads": 4, "memory_width": 32},
    },
    # One sequence at a time, one seed of a DNC in three stays at chance, and an SDNC does
    ("repeat-copy", "dnc"): {"batch_size": 4, "max_steps": 10_000, "solved_below": 0.003},
    ("repeat-copy", "sdnc"): {"batch_size": 8, "max_steps": 8000, "solved_below": 0.003},
    # Without an order to read in it stays at chance unless it starts with short sequences; with one read head and slots
    # of twenty numbers it does not get beyond sequences of eight
    ("repeat-copy", "sam"): {
        "model_options": {"num_reads": 4, "memory_width": 32},
        "batch_size": 8,
        "max_steps": 30_000,
        "curriculum": "exponential",
        "curriculum_options": {"advance_below": 1.0},
        "solved_below": 0.001,
    },
    **{
        (task, model): {"model_options": {**GRAPH_MEMORY, **options}}
        for task in ("graph-traversal", "shortest-path")
        for model, options in (
            ("ntm", {"controller": "lstm"}),
            ("dnc", {"num_reads": 5}),
            ("sam", {"num_reads": 5, "memory_slots": 1024}),
            ("sdnc", {"num_reads": 5, "memory_slots": 1024}),
        )
    },
    ("copy", "ntm-gru"): {"learning_rate": 1e-4, "solved_below": 0.003},
    ("copy", "ntm-lstm"): {"learning_rate": 2e-4, "solved_below": 0.001, "max_steps": 40_000},
}


def _defaults_of(task, kind):
    return [DEFAULTS_OF_MODELS.get((where, kind), {}) for where in ("*", task)]


def make_settings(task, model="ntm", **given):
    """The settings for a task and a model: the defaults, and what is given instead.

    Parameters
    ----------
    task, model : str
    **given
        Fields of :class:`Settings`. The dicts among them are merged with the defaults.

    Returns
    -------
    Settings
    """
    check_choice("task", task, TASKS)
    check_choice("model", model, MODELS)
    layers = [DEFAULTS[task], *_defaults_of(task, model)]
    controllers = [get_model_options(model).get("controller")]
    controllers += [layer.get("model_options", {}).get("controller") for layer in (*layers, given)]
    controller = next((name for name in reversed(controllers) if name), None)
    layers += _defaults_of(task, f"{model}-{controller}")
    merged: dict = {}
    for layer in (*layers, given):
        for name in ("curriculum", "schedule"):
            if layer.get(name, merged.get(name)) != merged.get(name):
                merged.pop(f"{name}_options", None)  # those of another one
        for name, value in layer.items():
            merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return Settings(task=task, model=model, **merged)
