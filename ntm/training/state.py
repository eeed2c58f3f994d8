"""The state of training: what a checkpoint holds, so that a resumed run goes on exactly as if it had not stopped.

The state is a dict of arrays, for a file of arrays, and a dict of all else, for JSON. Checkpoints come from strangers
too: a state is checked before any of it is taken over.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np

from lasagne.utils import check_param_value
from ntm.arguments import shorten
from ntm.serialization.arrays import read_arrays, write_arrays
from ntm.serialization.encoding import check_finite
from ntm.training.callbacks import Callback
from ntm.training.step import CARRIED, TrainingError
from ntm.training.task_source import TaskSource
from ntm.typing import Array, PathLike

if TYPE_CHECKING:
    from ntm.training.trainer import Trainer

#: The part of a state that JSON takes
Description: TypeAlias = dict[str, Any]
#: A random generator: NumPy's, or JAX's, which is a dict of arrays and of further dicts
RandomGenerator: TypeAlias = np.random.Generator | dict[str, Any]

#: What the names of the arrays that the rewinder goes back to begin with
BEST = "kept "
#: What the names of the arrays of callbacks begin with, before the callback's number
CALLBACK = "callback "
#: Parts of a description that are checked where they are read
UNCHECKED = ("task", "curriculum_rng", "network_rngs", "source", "callbacks")
#: What reading the state of a random generator raises if the state is damaged
DAMAGED = (ValueError, TypeError, LookupError, AttributeError, OverflowError)


# ---- The state of a trainer


def get_state(trainer: "Trainer") -> tuple[dict[str, Array], Description]:
    """Return all that is needed to go on exactly as if training had not stopped.

    Returns
    -------
    arrays : dict from str to array
        Parameters, the optimiser's state, the values that the rewinder goes back to, and losses.
    description : dict
        What JSON takes: counts, curriculum, evaluations, and all random generators, those of layers included.

    Raises
    ------
    TrainingError
        If a number among the parameters or in the optimiser's state is not finite.
    """
    trainer.training_step.settle()
    arrays = {}
    for name, variable in trainer.training_step.variables.items():
        arrays[name] = np.asarray(variable.get_value(borrow=True))
        if not np.isfinite(arrays[name]).all():
            raise TrainingError(f"{name} is not finite after step {trainer.step_count}: not saved")
    arrays |= {BEST + name: array for name, array in trainer.best_values.items()}
    for k, callback in enumerate(trainer.callbacks):
        arrays |= {f"{CALLBACK}{k} {name}": each for name, each in callback.get_arrays().items()}
    arrays["losses"] = np.array(trainer.losses)
    return arrays, _describe(trainer)


def set_state(trainer: "Trainer", arrays: Mapping[str, Array], description: Description) -> None:
    """Set a trainer to a state of :func:`get_state`.

    Raises
    ------
    ValueError
        If the state is damaged, or of another network, update rule or curriculum. Then the trainer is as before.
    """
    trainer.training_step.settle()
    own = _describe(trainer)
    # The first states had no restarts, and later ones neither callbacks nor a factor
    description = {"restarts": [], "callbacks": [], "rate_factor": 1.0, **description}
    _check_description(trainer, description, own)
    arrays = dict(arrays)
    callbacks = _match_callbacks(trainer, description["callbacks"], arrays)
    losses, best_values, values = _split_arrays(trainer, arrays, description["step"])
    rewinder = description["rewinder"]
    if rewinder is not None and rewinder["best"] is not None and not best_values:
        raise ValueError("the state has no values of the best step, which its rewinder names")
    storages = trainer.training_step.find_generators()
    network_rngs = _decode_generators(description, [storage[0] for storage in storages])
    before = [(one, one.get_state(), one.get_arrays()) for one, _, _ in callbacks]
    source = trainer.source
    try:
        _set_callbacks(callbacks)
        source.set_state(description if isinstance(source, TaskSource) else description["source"])
    except (ValueError, Warning):  # a filter may turn warnings into errors
        _set_callbacks(before)
        raise

    # All is checked: from here on nothing fails
    trainer.training_step.set_values(values)
    for storage, rng in zip(storages, network_rngs, strict=True):
        storage[0] = rng
    trainer.best_values = best_values
    if trainer.rewinder is not None and rewinder is not None:
        trainer.rewinder.set_state(rewinder)
    if trainer.restarter is not None:
        trainer.restarter.restarts = list(description["restarts"])
    trainer.losses = losses.tolist()
    trainer.step_count = description["step"]
    trainer.learning_rate_factor = description["rate_factor"]
    trainer.skipped = description["skipped"]
    trainer.skipped_in_a_row = description["skipped_in_a_row"]
    trainer.evaluations = description["evaluations"]
    trainer.solved_at = description["solved_at"]


def _describe(trainer: "Trainer") -> Description:
    """Return what a state holds besides arrays."""
    source = trainer.source
    state = source.get_state()
    return {
        "step": trainer.step_count,
        **(state if isinstance(source, TaskSource) else {"source": state}),
        "rewinder": None if trainer.rewinder is None else trainer.rewinder.get_state(),
        "restarts": trainer.restarts,
        "callbacks": [
            {"kind": type(callback).__name__, "state": callback.get_state()}
            for callback in trainer.callbacks
        ],
        "rate_factor": trainer.learning_rate_factor,
        "network_rngs": [
            _encode_generator(storage[0]) for storage in trainer.training_step.find_generators()
        ],
        "skipped": trainer.skipped,
        "skipped_in_a_row": trainer.skipped_in_a_row,
        "evaluations": trainer.evaluations,
        "solved_at": trainer.solved_at,
    }


def _check_description(trainer: "Trainer", description: Description, own: Description) -> None:
    """Raise a `ValueError` unless a description fits a trainer, whose own description is given too."""
    for name in ("rewinder", *(name for name in UNCHECKED if name in own)):
        if name not in description:
            other = "a task" if name == "source" else "other data"
            is_other = "source" in description or name == "source"
            raise ValueError(
                f"the state has no {name}" + (f": it is of {other}" if is_other else "")
            )
    if description["rewinder"] is None or own["rewinder"] is None:
        own = own | {"rewinder": description["rewinder"]}
    given, expected = (
        {name: value for name, value in each.items() if name not in UNCHECKED}
        for each in (description, own)
    )
    check_state(given, expected, "the state")
    if isinstance(trainer.source, TaskSource):
        trainer.source.check_state(description)
    if description["restarts"] and trainer.restarter is None:
        raise ValueError(
            f"the state is of training that was restarted {len(description['restarts'])} times, "
            "and this trainer has no restarter"
        )


# ---- Files


def write_state(trainer: "Trainer", path: PathLike) -> None:
    """Write a trainer's state to a file, all of it or nothing.

    Raises
    ------
    TrainingError
        If a number among the parameters or in the optimiser's state is not finite.
    """
    arrays, description = get_state(trainer)
    metadata = {"format": "trainer", "seconds": trainer.seconds, "trainer": description}
    write_arrays(path, arrays, metadata)


def read_state(trainer: "Trainer", path: PathLike) -> None:
    """Set a trainer to the state in a file of :func:`write_state`. No code in the file runs.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or of another network, other data or another update rule. Then the trainer is as before.
    """
    arrays, metadata = read_arrays(path)
    if not isinstance(metadata, dict) or metadata.get("format") != "trainer":
        raise ValueError(f"{path} is no checkpoint of a trainer")
    seconds: Any = metadata.get("seconds")
    if not _is_number(seconds) or seconds < 0 or not isinstance(metadata.get("trainer"), dict):
        raise ValueError(f"{path} is damaged: it holds no state of a trainer")
    try:
        set_state(trainer, arrays, metadata["trainer"])
    except DAMAGED as error:
        raise ValueError(f"{path} does not fit: {shorten(error)}") from error
    trainer.seconds = seconds


# ---- Callbacks


def _match_callbacks(
    trainer: "Trainer", found: Any, arrays: dict[str, Array]
) -> list[tuple[Callback, Any, dict[str, Array]]]:
    """Return the trainer's callbacks that have a state in a checkpoint, each with its state and its arrays.

    A program may have been changed since: callbacks and states match in order, by the name of the class. A state
    without a callback is left out. The arrays of all callbacks are taken out of `arrays`.
    """
    if not isinstance(found, list) or not all(
        isinstance(each, dict) and each.keys() == {"kind", "state"} for each in found
    ):
        _fail(found, "a list of states", "the state callbacks")
    matched = []
    left = list(trainer.callbacks)
    for k, each in enumerate(found):
        start = f"{CALLBACK}{k} "
        names = [name for name in arrays if name.startswith(start)]
        own = {name.removeprefix(start): arrays.pop(name) for name in names}
        callback = next((one for one in left if type(one).__name__ == each["kind"]), None)
        if callback is not None:
            left.remove(callback)
            matched.append((callback, each["state"], own))
    return matched


def _set_callbacks(states: list[tuple[Callback, Any, dict[str, Array]]]) -> None:
    """Set callbacks to their states and arrays."""
    try:
        for callback, state, arrays in states:
            callback.set_state(state)
            callback.set_arrays(arrays)
    except DAMAGED as error:
        raise ValueError(f"the state of a callback is damaged: {error}") from error


# ---- Arrays


def _split_arrays(
    trainer: "Trainer", arrays: dict[str, Array], step: int
) -> tuple[Array, dict[str, Array], dict[str, Array]]:
    """Return the losses, the values of the best step and the values of all variables."""
    losses = arrays.pop("losses", np.zeros(0))
    if losses.ndim != 1 or losses.dtype.kind != "f" or len(losses) not in (0, step):
        raise ValueError(
            f"the state is of {step} steps, and its losses are of shape {losses.shape}"
        )
    best = {
        name.removeprefix(BEST): arrays.pop(name) for name in list(arrays) if name.startswith(BEST)
    }
    variables = trainer.training_step.variables
    learnt = {name: each for name, each in variables.items() if not name.startswith(CARRIED)}
    best = _check_values(learnt, best) if best else best
    return losses, best, _check_values(variables, arrays)


def _check_values(variables: Mapping[str, Any], arrays: dict[str, Array]) -> dict[str, Array]:
    """Return arrays as values of the variables of their names, if they fit and are finite."""
    shapes = {name: np.shape(each.get_value(borrow=True)) for name, each in variables.items()}
    different = sorted(arrays.keys() ^ shapes.keys())
    different += [name for name in shapes if name in arrays and arrays[name].shape != shapes[name]]
    if different:
        raise ValueError(
            f"the state is of another network or update rule: different are {', '.join(different[:3])}"
        )
    values = {name: check_param_value(variables[name], array) for name, array in arrays.items()}
    for name, value in values.items():
        check_finite(name, value)
    return values


# ---- Random generators


def _encode_generator(rng: RandomGenerator) -> Description:
    """Return a random generator as JSON takes it."""
    if isinstance(rng, np.random.Generator):
        return {"numpy": rng.bit_generator.state}
    if isinstance(rng, dict):
        return {"dict": {name: _encode_generator(value) for name, value in rng.items()}}
    array = np.asarray(rng)
    return {"dtype": str(array.dtype), "values": array.tolist()}


def _decode_generator(state: Description) -> Any:
    """Return the random generator, or the part of one, that :func:`_encode_generator` was given."""
    if "numpy" in state:
        rng = np.random.default_rng()
        rng.bit_generator.state = state["numpy"]
        return rng
    if "dict" in state:
        return {name: _decode_generator(value) for name, value in state["dict"].items()}
    return np.array(state["values"], state["dtype"])


def _decode_generators(description: Description, own: list[RandomGenerator]) -> list[Any]:
    """Return the random generators of a network's layers, if they are like the network's own."""
    try:
        rngs = [_decode_generator(state) for state in description["network_rngs"]]
        fits = len(rngs) == len(own) and all(map(_are_alike, rngs, own))
    except DAMAGED as error:
        raise ValueError(f"the state of a random generator is damaged: {error!r}") from error
    if not fits:
        raise ValueError("the state is of another network or update rule: random generators")
    return rngs


def _are_alike(one: Any, other: Any) -> bool:
    """Tell whether two random generators, or parts of them, are of one kind and shape."""
    if isinstance(other, dict):
        return (
            isinstance(one, dict)
            and one.keys() == other.keys()
            and all(_are_alike(one[name], each) for name, each in other.items())
        )
    if isinstance(other, np.random.Generator):
        return isinstance(one, np.random.Generator)
    other = np.asarray(other)
    return isinstance(one, np.ndarray) and (one.shape, one.dtype) == (other.shape, other.dtype)


# ---- Checks of what JSON holds

#: What may be None in a state, besides what is None in the trainer at present
OPTIONAL = ("stage", "first", "best", "last_steps", "solved_at")
#: Lists of rows: dicts with a step
ROWS = ("skipped", "evaluations")


def check_state(given: Any, own: Any, where: str) -> None:
    """Raise a `ValueError` unless a value from JSON is of the kind of a trainer's own.

    Numbers are not negative, as all of them count something. Dicts have the same keys. Lists may have any length.

    Parameters
    ----------
    given : value from JSON
    own : dict, list, number, str or None
        What the trainer has in this place.
    where : str
        The place, for the message.
    """
    name = where.rpartition(" ")[2]
    if isinstance(own, dict):
        if not isinstance(given, dict) or given.keys() != own.keys():
            _fail(given, f"of {', '.join(own)}", where)
        for key, value in own.items():
            check_state(given[key], value, f"{where} {key}")
    elif isinstance(own, list):
        fits = _is_row if name in ROWS else _is_number_or_list
        if not isinstance(given, list) or not all(map(fits, given)):
            _fail(given, "a list of rows" if name in ROWS else "a list of numbers", where)
    elif isinstance(own, str):
        if not isinstance(given, str):
            _fail(given, "a string", where)
    elif given is None:
        if own is not None and name not in OPTIONAL:
            _fail(given, "a number", where)
    else:
        whole = isinstance(own, int) or (own is None and name not in ("first", "best"))
        if not _is_number(given) or given < 0 or (whole and not isinstance(given, int)):
            _fail(given, "a whole number" if whole else "a number, not negative", where)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_number_or_list(value: Any) -> bool:
    return all(map(_is_number, value)) if isinstance(value, list) else _is_number(value)


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and type(value.get("step")) is int


def _fail(given: Any, expected: str, where: str) -> NoReturn:
    raise ValueError(f"{where} must be {expected}, not {shorten(repr(given), 100)}")
