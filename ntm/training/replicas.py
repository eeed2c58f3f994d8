"""Many networks of one kind in one program: each with its own seed, data, learning rate, restarts and end.

The training step of one network is a pure function of values. ``jax.vmap`` makes of it one function for N networks,
whose values are stacked: :class:`lasagne.backends.jax_stack.Stack`. Around the step each trainer does what it does
alone (:meth:`ntm.training.Trainer.make_course`), one after the other, in one thread.

The stack holds the latest values. The shared variables of a network are brought up to date when its trainer reads them
(:meth:`ntm.training.TrainingStep.settle`); what the trainer then changes goes back into the stack before the next step.

Notation: N networks.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import equal_computations
from pytensor.tensor.random.type import RandomType

from lasagne.layers import get_all_layers
from ntm.arguments import Number
from ntm.interruption import Stop, stop_on_signals
from ntm.layers.sam import SAMLayer
from ntm.layers.sdnc import SDNCLayer
from ntm.training.progress import GroupProgress
from ntm.training.recovery import latest_loss
from ntm.training.step import Course, StepAnswer, StepRequest, TrainingStep
from ntm.training.trainer import Trainer

__all__ = ["Replica", "ReplicaResult", "check_replicas", "run_together", "train_replicas"]

#: The loss that is shown is the mean of so many steps
SHOWN_STEPS = 100


class ReplicaResult(NamedTuple):
    """How the training of one of several networks ended.

    Attributes
    ----------
    ended : Any
        What :meth:`ntm.training.Trainer.train` returns: 'solved', 'done', 'interrupted', or the reason that a callback
        gave. None after an error.
    error : Exception or None
        What ended the training of this network alone.
    """

    ended: Any
    error: Exception | None = None


class Replica(NamedTuple):
    """One of the networks that train in one program.

    Attributes
    ----------
    name : str
        For messages.
    trainer : Trainer
    course : generator
        The training that this network does: :meth:`ntm.training.Trainer.make_course`.
    """

    name: str
    trainer: Trainer
    course: Course


def train_replicas(
    trainers: Sequence[Trainer],
    each: Sequence[Mapping[str, Any]] | None = None,
    progress: bool = True,
    **options: Any,
) -> list[ReplicaResult]:
    """Train several networks of one kind in one program, each as its trainer would train it alone.

    The networks differ in their numbers alone: seeds, initial parameters, data, learning rates, levels of curricula.
    One compiled step trains all of them. Each network has results that are equal to those of its own training up to
    rounding. A network whose training ends, or fails, leaves the others as they are.

    Ctrl-C, SIGTERM and SIGHUP stop all networks after the same step, and each is saved.

    Parameters
    ----------
    trainers : list of Trainer
        Made with ``devices=1``, on the back end JAX. Their batches have equal numbers of sequences. Batches that differ
        in length are padded to the longest.
    each : list of dict, optional
        For each trainer further arguments of :meth:`ntm.training.Trainer.train`, such as ``checkpoint``, ``save`` and
        ``loggers``.
    progress : bool
        Whether to show progress on standard error, in one line for all networks.
    **options
        Arguments of :meth:`ntm.training.Trainer.train` for all trainers.

    Returns
    -------
    list of ReplicaResult
        For each trainer why its training ended, or the error that ended it.

    Raises
    ------
    TypeError
        If there is no such argument of :meth:`ntm.training.Trainer.train`.
    ValueError
        If the networks cannot train in one program: the message says why.

    Examples
    --------
    >>> from lasagne.layers import DenseLayer, InputLayer
    >>> from ntm.tasks import CopyTask
    >>> from ntm.training import Trainer, train_replicas
    >>> def make_trainer(seed):
    ...     task = CopyTask(max_length=2, seed=seed)
    ...     l_in = InputLayer((None, None, task.num_inputs))
    ...     l_out = DenseLayer(l_in, task.num_outputs, num_leading_axes=2, nonlinearity=None)
    ...     return Trainer(l_out, task, learning_rate=0.01 * seed, seed=seed, devices=1)
    >>> trainers = [make_trainer(seed) for seed in (1, 2, 3)]
    >>> [result.ended for result in train_replicas(trainers, max_steps=4, progress=False)]
    ['done', 'done', 'done']
    """
    given: Sequence[Mapping[str, Any]] = [{}] * len(trainers) if each is None else each
    if len(given) != len(trainers):
        raise ValueError(
            f"train_replicas: each must have the arguments of {len(trainers)} trainers, not of {len(given)}"
        )
    replicas = [
        Replica(f"replica {k}", trainer, trainer.make_course(progress=False, **{**options, **own}))
        for k, (trainer, own) in enumerate(zip(trainers, given, strict=True))
    ]
    return run_together(replicas, progress=progress)


def run_together(
    replicas: Sequence[Replica],
    places: int | None = None,
    progress: bool = True,
    on_end: Callable[[Replica, ReplicaResult], None] | None = None,
) -> list[ReplicaResult]:
    """Run the courses of several networks in one program, each to its end.

    Parameters
    ----------
    replicas : list of Replica
    places : int, optional
        How many networks the program is made for at first: more than `replicas` where some of a group ended earlier.
        When half of the places are empty, a program for half as many is compiled.
    progress : bool
        Whether to show progress.
    on_end : callable, optional
        Called when the course of a network has ended.

    Returns
    -------
    list of ReplicaResult
        `ended` is what each course returns.

    Raises
    ------
    ValueError
        As of :func:`train_replicas`.
    """
    check_replicas([replica.trainer for replica in replicas], [each.name for each in replicas])
    places = Number(int, len(replicas)).check("places", places or len(replicas))
    shown = GroupProgress(len(replicas), progress)
    with stop_on_signals() as stop:
        group = _Group(replicas, places, shown, stop, on_end)
        try:
            group.run()
        finally:
            group.close()
    return group.results


def check_replicas(trainers: Sequence[Trainer], names: Sequence[str] | None = None) -> None:
    """Raise a `ValueError` unless networks can train in one program.

    Parameters
    ----------
    trainers : list of Trainer
    names : list of str, optional
        Of the networks, for messages.
    """
    if not trainers:
        raise ValueError("replicas: expected at least one trainer")
    names = names or [f"replica {k}" for k in range(len(trainers))]
    if len({id(trainer) for trainer in trainers}) < len(trainers):
        raise ValueError(
            "replicas: a trainer is given twice; expected trainers of different networks"
        )
    first = trainers[0].training_step
    if not hasattr(first.mode.linker, "count_devices"):
        raise ValueError(
            "replicas need the back end jax: make the trainers with mode=ntm.get_mode('jax')"
        )
    if any(trainer.training_step.processes is not None for trainer in trainers):
        raise ValueError("replicas train in one process: make the trainers without processes")
    if first.division.devices > 1:
        raise ValueError(
            f"replicas share one device, and {names[0]} divides its batches over {first.division.devices}: make the "
            "trainers with devices=1"
        )
    for layer in get_all_layers(trainers[0].l_out):
        if isinstance(layer, SAMLayer | SDNCLayer):
            raise ValueError(
                f"replicas: {layer!r} has a sparse memory, which a step changes in place. In one program with other "
                "networks each step would copy the whole memory. Train each network in a process of its own: ntm sweep"
            )
    own = _Graph(first)
    seen = {id(variable): names[0] for variable in first.variables.values()}
    for name, trainer in zip(names[1:], trainers[1:], strict=True):
        for variable in trainer.training_step.variables.values():
            if id(variable) in seen:
                raise ValueError(
                    f"replicas: {name} has the parameter {variable.name} of {seen[id(variable)]}: expected a network "
                    "of its own for each trainer"
                )
            seen[id(variable)] = name
        own.check_alike(_Graph(trainer.training_step), names[0], name)


class _Graph:
    """What a training step computes, to compare it with that of another network."""

    def __init__(self, step: TrainingStep) -> None:
        self.step = step
        self.inputs, self.outputs, self.shared = step.list_graph()

    def check_alike(self, other: "_Graph", name: str, other_name: str) -> None:
        """Raise a `ValueError` unless another step computes the same from other numbers."""
        if self.step.mode.linker is not other.step.mode.linker and (
            type(self.step.mode.linker) is not type(other.step.mode.linker)
            or _get_device(self.step) != _get_device(other.step)
        ):
            raise ValueError(
                f"replicas: {name} and {other_name} run on different back ends or devices"
            )
        one, two = ([_describe(each) for each in graph.shared] for graph in (self, other))
        different = [(a, b) for a, b in zip(one, two, strict=False) if a != b]
        if different or len(one) != len(two):
            a, b = different[0] if different else (f"{len(one)} variables", f"{len(two)}")
            raise ValueError(
                f"replicas: {name} has {a}, and {other_name} {b}: expected networks and update rules that differ in "
                "their numbers alone"
            )
        if not equal_computations(
            list(self.outputs),
            list(other.outputs),
            [*self.inputs, *self.shared],
            [*other.inputs, *other.shared],
        ):
            raise ValueError(
                f"replicas: {name} and {other_name} compute different things: expected networks, losses, update rules, "
                "penalties and clip values that are equal; seeds, parameters, data and learning rates may differ"
            )


def _describe(variable: SharedVariable) -> str:
    """Return a shared variable's name, type and shape."""
    if isinstance(variable.type, RandomType):
        return "a random generator"
    value: Any = variable.get_value(borrow=True)
    name = variable.name or "a variable"
    return f"{name} of shape {np.shape(value)} and type {variable.type.dtype}"  # type: ignore[attr-defined]


def _get_device(step: TrainingStep) -> Any:
    return getattr(step.mode.linker, "device", None)


class _Member:
    """A network of a group that has not ended.

    Attributes
    ----------
    position : int
        In the stack.
    storages : list of list
        Where the network's own values are: one list of one value for each variable of the stack.
    put : list or None
        The values that were put there since the latest step; None if they are of an earlier step.
    request : StepRequest or None
    """

    def __init__(self, index: int, replica: Replica) -> None:
        self.index, self.position = index, index
        self.name, self.trainer, self.course = replica
        self.step = self.trainer.training_step
        self.storages: list[list[Any]] = []
        self.put: list[Any] | None = None
        self.request: StepRequest | None = None

    def find_storages(self, shared: Sequence[SharedVariable], first: TrainingStep) -> None:
        """Find where the network's values are, given the variables of the group's first network."""
        own = dict(zip(first.list_graph()[2], self.step.list_graph()[2], strict=True))
        generators = iter(self.step.find_generators())
        self.storages = [
            next(generators) if isinstance(each.type, RandomType) else own[each].container.storage
            for each in shared
        ]

    def get_values(self) -> list[Any]:
        """Return the network's own values."""
        return [storage[0] for storage in self.storages]

    def has_changed(self) -> bool:
        """Tell whether the trainer has changed values since they were put."""
        return self.put is not None and any(
            storage[0] is not value for storage, value in zip(self.storages, self.put, strict=True)
        )


class _Group:
    """Runs the courses of several networks, step by step."""

    def __init__(
        self,
        replicas: Sequence[Replica],
        places: int,
        shown: GroupProgress,
        stop: Stop,
        on_end: Callable[[Replica, ReplicaResult], None] | None,
    ) -> None:
        self.results = [ReplicaResult(None)] * len(replicas)
        self._replicas, self._places = replicas, places
        self._members = [_Member(k, replica) for k, replica in enumerate(replicas)]
        self._first = self._members[0].step
        self._shown, self._stop, self._on_end = shown, stop, on_end
        self._stack: Any = None
        self._shapes: set[tuple[int, ...]] = set()
        for member in self._members:
            member.step.keeper = self._make_keeper(member)

    def run(self) -> None:
        """Run all courses to their ends."""
        for member in list(self._members):
            self._send(member, None)
        while self._members:
            # All networks stop after the same step
            goes_on = not self._stop.is_set()
            for member in list(self._members):
                self._send(member, goes_on)
            if self._members:
                self._do_step()

    def close(self) -> None:
        """End the courses that have not ended, as an error came up."""
        for member in self._members:
            try:
                member.course.close()
            finally:
                self._settle(member)
                member.step.keeper = None
        self._shown.close()

    # ---- Courses

    def _send(self, member: _Member, answer: Any) -> None:
        self._advance(member, lambda: member.course.send(answer))

    def _throw(self, member: _Member, error: Exception) -> None:
        self._advance(member, lambda: member.course.throw(error))

    def _advance(self, member: _Member, advance: Callable[[], StepRequest | None]) -> None:
        """Let a course go on to its next step, or its end."""
        try:
            member.request = advance()
        except StopIteration as end:
            self._end(member, ReplicaResult(end.value))
        except KeyboardInterrupt:
            # Of a course that ended its work because of the first signal; a second signal ends the program
            if self._stop.has_acted or not self._stop.is_set():
                raise
            self._end(member, ReplicaResult("interrupted"))
        except Exception as error:
            self._end(member, ReplicaResult(None, error))

    def _end(self, member: _Member, result: ReplicaResult) -> None:
        self._settle(member)
        self._take_over(member)
        member.step.keeper = None
        self._members.remove(member)
        self.results[member.index] = result
        error = result.error
        ended = f"failed ({error})" if error is not None else _describe_end(result.ended)
        is_solved = member.trainer.solved_at is not None
        steps, active = member.trainer.step_count, len(self._members)
        self._shown.count_end(is_solved, active)
        if self._on_end is None:
            self._shown.note(f"{member.name}: {ended} after {steps:,} steps; {active} go on")
        else:
            self._on_end(self._replicas[member.index], result)

    # ---- Values

    def _make_keeper(self, member: _Member) -> Callable[[], None]:
        return lambda: self._settle(member)

    def _settle(self, member: _Member) -> None:
        """Put the latest values of a network where its trainer reads them."""
        if self._stack is None or member.put is not None:
            return
        member.put = self._stack.take(member.position)
        for storage, value in zip(member.storages, member.put, strict=True):
            storage[0] = value

    def _take_over(self, member: _Member) -> None:
        """Take over values that a trainer has changed."""
        if member.has_changed():
            self._stack.put(member.position, member.get_values())

    def _arrange(self) -> None:
        """Stack the values of the networks, in their order; half as many places when half of them are empty."""
        count = len(self._members)
        size = _choose_size(self._places, count)
        filled = [*range(count), *[0] * (size - count)]
        if self._stack is None:
            from lasagne.backends.jax_stack import Stack

            stack = Stack(self._first.function, _get_device(self._first))
            for member in self._members:
                member.find_storages(stack.shared, self._first)
            stack.fill([self._members[k].get_values() for k in filled])
            self._stack = stack
        else:
            for member in self._members:
                self._take_over(member)
            positions = [member.position for member in self._members]
            if (size, positions) == (self._stack.size, list(range(count))):
                return
            if size < self._stack.size:
                self._shown.note(f"from here on a step is for {size} networks")
            self._stack.arrange([positions[k] for k in filled])
        for position, member in enumerate(self._members):
            member.position = position

    # ---- Steps

    def _do_step(self) -> None:
        """Do a training step for all networks, and let them go on."""
        self._arrange()
        arguments = self._make_arguments()
        if not self._members:
            return
        if len(arguments) != len(self._members):  # One has failed
            self._arrange()
        filled = [*arguments, *[arguments[0]] * (self._stack.size - len(arguments))]
        outputs, seconds = self._run(filled)
        members = list(self._members)
        for member in members:
            member.put = None
        for position, member in enumerate(members):
            result = member.step.make_result([output[position] for output in outputs])
            self._send(member, StepAnswer(result, seconds))
        self._shown.advance(self._describe)

    def _run(self, arguments: Sequence[Sequence[Any]]) -> tuple[list[Any], float | None]:
        """Run the step, and say how long it took: None if it had to be compiled."""
        shape = (len(arguments), *np.shape(arguments[0][0]))
        start = time.monotonic()
        if shape in self._shapes:
            return self._stack.run(arguments), time.monotonic() - start
        self._shapes.add(shape)
        with self._shown.compiling(*shape[:3]):
            return self._stack.run(arguments), None

    def _make_arguments(self) -> list[list[Any]]:
        """Return what the step takes for each network, all of one shape; networks whose batch is none end."""
        shapes = [member.step.get_shape(member.request.batch) for member in self._members]  # type: ignore[union-attr]
        sizes = {size for size, _ in shapes}
        if len(sizes) > 1:
            raise ValueError(
                f"replicas: batches of {' and '.join(map(str, sorted(sizes)))} sequences cannot train in one program: "
                "expected equal numbers of sequences"
            )
        longest = max(length for _, length in shapes)
        arguments = []
        for member in list(self._members):
            assert member.request is not None
            batch, rate = member.request
            try:
                padded = member.step.pad(batch, longest)
            except ValueError as error:
                raise ValueError(f"replicas: {error}") from error
            try:
                arguments.append(member.step.make_arguments(padded, rate))
            except Exception as error:
                self._throw(member, error)
        return arguments

    def _describe(self) -> tuple[str, int, int | None]:
        """Return what is shown of the networks: the median of their losses, steps, and steps in all."""
        trainers = [member.trainer for member in self._members]
        losses = [latest_loss(trainer, SHOWN_STEPS) for trainer in trainers]
        totals = [trainer.total_steps for trainer in trainers if trainer.total_steps is not None]
        steps = max((trainer.step_count for trainer in trainers), default=0)
        return f"loss {np.median(losses):.3g} (median)", steps, max(totals, default=None)


def _describe_end(ended: Any) -> str:
    """Return why training ended: what a trainer says, or the result of a run."""
    return ended["ended"] if isinstance(ended, Mapping) else str(ended)


def _choose_size(places: int, count: int) -> int:
    """Return for how many networks a program is compiled: all places, or half of them, or a quarter, ..."""
    size = places
    while size > 1 and -(-size // 2) >= count:
        size = -(-size // 2)
    return size
