"""Several processes, on one host or on several, whose devices train one network together.

One process, number 0, leads: it decides everything, and tells the others what to compute. The others follow. All of
them run the same compiled function on devices of their own, and JAX sums over all devices.

The processes meet at an address that process 0 listens on. From then on a connection joins process 0 with each other
process. What process 0 says, and the arrays that go with it, travel along these connections as JSON and plain numbers:
nothing that is received is run as code. A connection that breaks says that a process has gone. The sums travel along
connections of JAX's own.

Whoever can reach the address can take part: it belongs into a network that is trusted.
"""

import contextlib
import json
import os
import platform
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self, TypeAlias

import numpy as np

from lasagne.devices import (
    ALL,
    AXIS,
    WITHOUT_LIMIT,
    count_cores,
    get_devices,
    has_started,
    reserve_devices,
)

if TYPE_CHECKING:
    from jax.sharding import Mesh

__all__ = [
    "AUTO",
    "LostProcessError",
    "Processes",
    "connect_devices",
    "find_place",
    "join_processes",
]

#: As many devices as the processes' cores, or GPUs
AUTO = "auto"
#: Seconds to wait for the other processes at the start
PATIENCE = 300.0
#: Seconds in which a computation may still end by itself after a process has gone
GRACE = 10.0
#: Seconds that an unknown caller has to say who it is
GREETING = 5.0
#: Bytes of the longest greeting, and of the longest message besides its arrays
LONGEST_GREETING, LONGEST_MESSAGE = 2**12, 2**30
#: The packages of which all processes need the same version
PACKAGES = ("ntm-lasagne", "pytensor", "jax", "jaxlib", "numpy")
#: How soon the system notices that a host does not answer any more: after 10 s, then 5 times every 4 s
KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 4, "TCP_KEEPCNT": 5, "TCP_USER_TIMEOUT": 30_000}
#: The lowest port for processes that Slurm started, and how many there are
PORTS = 20_000, 10_000

Message: TypeAlias = dict[str, Any]
Arrays: TypeAlias = list[np.ndarray]


class LostProcessError(ConnectionError):
    """A process that trains a network together with this one has gone, or has failed."""


class Place(NamedTuple):
    """The place of a process among others."""

    processes: int
    process: int
    coordinator: str | None


class _Peer:
    """Another process, at the other end of a connection.

    Attributes
    ----------
    name : str
        Such as ``process 1 of 2 (host node7, PID 4711)``.
    inbox : queue
        What the other process has said; None once the connection has ended.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.name = "a process"
        self.inbox: SimpleQueue[tuple[Message, Arrays] | None] = SimpleQueue()
        self._connection = connection
        self._file = connection.makefile("rb")
        self._lock = threading.Lock()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEP_ALIVE.items():
            if hasattr(socket, name):  # Linux has all of them
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, message: Message, arrays: Sequence[np.ndarray] = ()) -> None:
        """Send a message, with arrays."""
        described = [[each.dtype.name, list(each.shape)] for each in arrays]
        text = json.dumps({"message": message, "arrays": described}).encode()
        with self._lock:
            self._connection.sendall(struct.pack("!Q", len(text)) + text)
            for each in arrays:
                self._connection.sendall(each.tobytes())

    def receive(self, longest: int = LONGEST_MESSAGE) -> tuple[Message, Arrays]:
        """Wait for a message, and return it with its arrays.

        Raises
        ------
        EOFError, OSError
            If the connection has ended.
        ValueError
            If what arrives is no message.
        """
        (size,) = struct.unpack("!Q", self._read(8))
        if size > longest:
            raise ValueError("the message is too long")
        content = json.loads(self._read(size))
        if not isinstance(content, dict) or not isinstance(content.get("message"), dict):
            raise ValueError("this is no message")
        return content["message"], [self._read_array(*each) for each in content["arrays"]]

    def _read_array(self, name: str, shape: list[int]) -> np.ndarray:
        dtype = np.dtype(name)
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(bytearray(self._read(size)), dtype).reshape(shape)

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def set_timeout(self, seconds: float | None) -> None:
        """Let sending and receiving fail after so many seconds; None for never."""
        self._connection.settimeout(seconds)

    def close(self) -> None:
        """End the connection. Whoever waits for a message notices."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._file.close()


class Processes:
    """The processes that train a network together, as one of them sees them: see :func:`join_processes`.

    A context manager: where its block ends with an error, the other processes get to know the reason.

    Attributes
    ----------
    count, index : int
        How many processes there are, and the number of this one. Process 0 leads.
    num_devices : int
        How many devices all processes have together. Each has as many as the others.
    mesh : jax.sharding.Mesh
        All of these devices.
    """

    mesh: "Mesh"
    num_devices: int

    def __init__(self, count: int, index: int, peers: list[_Peer]) -> None:
        self.count, self.index = count, index
        #: Called when another process asks to end training
        self.on_stop: Callable[[], object] | None = None
        self._peers = peers
        self._loss: str | None = None
        self._has_loss = threading.Event()
        self._is_closed = False
        # The number of the computation that waits for other processes at present
        self._computation: int | None = None
        self._num_computations = 0

    @property
    def is_leader(self) -> bool:
        """Whether this process leads."""
        return self.index == 0

    @property
    def leader(self) -> str:
        """What messages call the leading process."""
        return self.name if self.is_leader else self._peers[0].name

    @property
    def name(self) -> str:
        """What messages call this process."""
        return _name(self.count, self.index, _get_greeting(self.count, self.index))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None:
            self.close()
        else:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Leave the other processes, and tell them about the error for which this process cannot go on."""
        self.close(str(error) or type(error).__name__)

    def close(self, reason: str | None = None) -> None:
        """Leave the other processes.

        Parameters
        ----------
        reason : str, optional
            Why this process cannot go on.
        """
        if self._is_closed:
            return
        self._is_closed = True
        message: Message
        message = {"do": "leave"} if reason is None else {"do": "fail", "reason": reason}
        if self._loss is not None:
            message = {"do": "fail", "reason": self._loss, "is_passed_on": True}
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.send(message)
            peer.close()

    # ---- What is said

    def tell(self, message: Message, arrays: Sequence[np.ndarray] = ()) -> None:
        """Send a message to all processes that follow; from one of those, to the process that leads.

        Raises
        ------
        LostProcessError
            If a process has gone.
        """
        self.check()
        for peer in self._peers:
            try:
                peer.send(message, arrays)
            except OSError:
                self._lose(peer)
                self.check()

    def receive(self, wait: Callable[[], object] | None = None) -> tuple[Message, Arrays]:
        """Wait for a message of the process that leads, and return it with its arrays.

        Parameters
        ----------
        wait : callable, optional
            Called every half a second while there is no message.

        Raises
        ------
        LostProcessError
            If the process that leads has gone.
        """
        return self._take(self._peers[0], wait)

    def _take(
        self, peer: _Peer, wait: Callable[[], object] | None = None
    ) -> tuple[Message, Arrays]:
        while True:
            try:
                found = peer.inbox.get(timeout=0.5)
            except Empty:
                self.check()
                if wait is not None:
                    wait()
                continue
            if found is None:
                peer.inbox.put(None)
                self._lose(peer)
                self._fail()
            if found[0]["do"] == "leave":
                self._lose(peer, f"{peer.name} has left: its program has ended")
                self._fail()
            return found

    def share(self, what: str, value: Any) -> Any:
        """Return the value of process 0, as JSON takes it, in all processes.

        Parameters
        ----------
        what : str
            What the value is, for the error where processes do not run the same program.
        value :
            That of this process.
        """
        if self.is_leader:
            self.tell({"do": "share", "what": what, "value": value})
            return value
        return self._expect("share", what)["value"]

    def agree(self, what: str, value: Any) -> None:
        """Check that all processes have the same value.

        Parameters
        ----------
        what : str
            What the value is, for the message.
        value :
            As JSON takes it. Where it is a dict, the message names what differs.

        Raises
        ------
        ValueError
            In all processes, if the value of one differs from that of process 0.
        """
        if self.is_leader:
            self.tell({"do": "agree", "what": what, "value": value})
            replies = [self._take(peer)[0] for peer in self._peers]
            wrong = next((each["error"] for each in replies if each.get("error")), None)
            self.tell({"do": "agreed", "what": what, "error": wrong})
        else:
            expected = self._expect("agree", what)["value"]
            own = json.loads(json.dumps(value))  # As it would arrive there: a tuple is a list
            error = None
            if own != expected:
                error = f"{what} of {self.name} {_compare(own, expected)} in {self.leader}"
            self.tell({"do": "reply", "error": error})
            wrong = self._expect("agreed", what)["error"]
        if wrong is not None:
            raise ValueError(
                f"{wrong}. All processes of a network need the same network, data, settings and versions"
            )

    def _expect(self, do: str, what: str) -> Message:
        message, _ = self.receive()
        if message["do"] != do or message.get("what") != what:
            raise ValueError(
                f"{self.name} expected {what} of {self.leader}, which was about to {message['do']} "
                f"{message.get('what', '')}: the processes do not run the same program"
            )
        return message

    def ask_to_stop(self) -> None:
        """Ask the process that leads to end training after the present step."""
        self.tell({"do": "stop"})

    # ---- Processes that go

    def check(self) -> None:
        """Raise a `LostProcessError` if a process is known to have gone."""
        if self._loss is not None:
            self._fail()

    def _fail(self) -> NoReturn:
        raise LostProcessError(self._loss)

    def _lose(self, peer: _Peer, reason: str | None = None) -> None:
        """Note that a process has gone; the first one counts."""
        if self._loss is None:
            self._loss = reason or f"{peer.name} has gone, and the others cannot go on without it"
            self._has_loss.set()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Wait for other processes in this context, as for a sum over all devices.

        If a process goes meanwhile, the wait may never end. So this process is ended, with exit code 1, if it still
        waits 10 s later.

        Raises
        ------
        LostProcessError
            If a process has gone, or goes meanwhile.
        """
        self._num_computations += 1
        self._computation = self._num_computations
        try:
            self.check()
            yield
        except LostProcessError:
            raise
        except Exception as error:
            # JAX notices a broken connection, too, and may be faster
            if self._has_loss.wait(GRACE / 2):
                raise LostProcessError(self._loss) from error
            raise
        finally:
            self._computation = None

    def listen(self) -> None:
        """Begin to receive messages."""
        tasks: list[Callable[[], None]] = [partial(self._read, peer) for peer in self._peers]
        for task in (*tasks, self._watch):
            threading.Thread(target=task, name="processes", daemon=True).start()

    def _read(self, peer: _Peer) -> None:
        """Put what another process says into its inbox, to the end of the connection."""
        has_left = False
        with contextlib.suppress(OSError, EOFError, ValueError, TypeError, LookupError):
            while not has_left:
                message, arrays = peer.receive()
                if message["do"] == "stop":
                    if self.on_stop is not None:
                        self.on_stop()
                elif message["do"] == "fail":
                    reason = message["reason"]
                    is_own = not message.get("is_passed_on")
                    self._lose(peer, f"{peer.name} has failed: {reason}" if is_own else reason)
                    break
                else:
                    has_left = message["do"] == "leave"
                    peer.inbox.put((message, arrays))
        if not has_left and not self._is_closed:
            self._lose(peer)
        peer.inbox.put(None)

    def _watch(self) -> None:
        """End this process if it waits for a process that has gone: nothing else ends a wait inside of JAX."""
        self._has_loss.wait()
        while True:
            computation = self._computation
            time.sleep(GRACE)
            if computation is not None and self._computation == computation:
                with contextlib.suppress(OSError):
                    os.write(2, f"{self._loss}\n{self.name} ends: it waited in vain\n".encode())
                os._exit(1)


def _compare(own: Any, expected: Any) -> str:
    """Return in what two values differ: what stands between their names in a message."""
    if isinstance(own, dict) and isinstance(expected, dict):
        names = [
            name
            for name in {**expected, **own}
            if own.get(name) != expected.get(name) or (name in own) != (name in expected)
        ]
        name = names[0]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        given, wanted = (
            json.dumps(each[name])[:200] if name in each else "none" for each in (own, expected)
        )
        return f"differ: {name}{more} is {given} here, and {wanted}"
    if isinstance(own, str | int | float | None) and isinstance(expected, str | int | float | None):
        return f"is {own!r}, and {expected!r}"
    return "differs from that"


# ---- How processes meet


def join_processes(
    count: int,
    index: int,
    coordinator: str,
    devices: int | str = AUTO,
    most: int | None = None,
    platform: str | None = None,
    timeout: float = PATIENCE,
    wait: Callable[[], object] | None = None,
) -> Processes:
    """Wait for other processes, to train a network together: with all of their devices.

    Call this at the top of the program, in each process, before anything is compiled. Then give the result to
    :class:`ntm.training.Trainer`, and call ``train`` in each process. Process 0 trains and decides; in the others
    ``train`` computes what process 0 says, and returns when process 0 has ended.

    Parameters
    ----------
    count : int
        How many processes there are.
    index : int
        The number of this one, from 0.
    coordinator : str
        ``HOST:PORT``: the address of process 0, and a port that is free there. Process 0 listens there. Whoever can
        reach the address can take part: choose an address in a network that is trusted. ``127.0.0.1`` is for processes
        on one host. JAX connects all processes to each other, on ports that the system chooses.
    devices : int or 'auto'
        How many devices all processes have together, a multiple of `count`. ``'auto'`` takes as many CPU cores of each
        process as the process with the fewest has, or as many GPUs.
    most : int, optional
        How many devices ``'auto'`` takes at most, all processes together.
    platform : str, optional
        ``'cpu'`` or ``'gpu'``; unless given, the kind that JAX prefers.
    timeout : float
        Seconds to wait for the other processes.
    wait : callable, optional
        Called every half a second while others are waited for; an error that it raises ends the wait.

    Returns
    -------
    Processes

    Raises
    ------
    ValueError
        If an argument is none that fits, or does not fit those of the other processes; if the versions of the packages
        differ, or a process has too few devices.
    LostProcessError
        If a process does not come in time, or goes.
    RuntimeError
        If JAX has started already.
    """
    host, port = _check_arguments(count, index, coordinator, devices)
    if has_started():
        raise RuntimeError(
            "join_processes: JAX has started already, and cannot be joined with other processes any more: call "
            "join_processes at the top of the program, before anything is compiled"
        )
    deadline = time.monotonic() + timeout
    if index == 0:
        processes, cores = _gather(count, host, port, deadline, timeout, wait)
    else:
        processes, cores = _connect(count, index, host, port, deadline, timeout, wait)
    try:
        processes.listen()
        processes.agree("devices", {"devices": devices, "most": most, "platform": platform})
        _start_jax(processes, host, cores, devices, most, platform, deadline)
    except BaseException as error:
        processes.fail(error)
        raise
    return processes


def _check_arguments(count: Any, index: Any, coordinator: Any, devices: Any) -> tuple[str, int]:
    """Return the host and the port of the coordinator."""
    caller = "join_processes"
    for name, value, low in (("count", count, 2), ("index", index, 0)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
            raise ValueError(f"{caller}: {name} must be an integer from {low}, not {value!r}")
    if index >= count:
        raise ValueError(f"{caller}: index must be from 0 to {count - 1}, not {index}")
    if devices != AUTO and devices != ALL:
        if isinstance(devices, bool) or not isinstance(devices, Integral) or devices < 1:
            raise ValueError(
                f"{caller}: devices must be a positive integer or 'auto', not {devices!r}"
            )
        if devices % count:
            raise ValueError(
                f"{caller}: {devices} devices cannot be divided over {count} processes: expected a multiple of {count}"
            )
    host, _, port = coordinator.rpartition(":") if isinstance(coordinator, str) else ("", "", "")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"{caller}: coordinator must be HOST:PORT, such as 10.0.0.1:29400, not {coordinator!r}"
        )
    return host.strip("[]"), int(port)


def _get_greeting(count: int, index: int) -> Message:
    """Return what a process says of itself when processes meet."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "do": "greet",
        "count": count,
        "index": index,
        "host": platform.node(),
        "pid": os.getpid(),
        "cores": count_cores(),
        "versions": {"python": ".".join(map(str, sys.version_info[:2])), **versions},
    }


def _name(count: int, index: int, greeting: Message) -> str:
    return f"process {index} of {count} (host {greeting['host']}, PID {greeting['pid']})"


def _gather(
    count: int,
    host: str,
    port: int,
    deadline: float,
    timeout: float,
    wait: Callable[[], object] | None,
) -> tuple[Processes, int]:
    """Wait for all other processes; return them, and how many cores each process may use."""
    own = _get_greeting(count, 0)
    greetings: dict[int, Message] = {0: own}
    peers: dict[int, _Peer] = {}
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        server = socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            error.errno, f"process 0 cannot listen on {host}:{port}: {error.strerror}"
        ) from error
    try:
        with server:
            while len(peers) < count - 1:
                peer = _Peer(_accept(server, deadline, wait))
                greeting = _greet(peer)
                if greeting is None:
                    peer.close()
                    continue
                index = greeting["index"]
                peer.name = _name(count, index, greeting)
                wrong = _check_greeting(greeting, own, peers)
                if wrong is not None:
                    with contextlib.suppress(OSError):
                        peer.send({"do": "fail", "reason": wrong, "is_passed_on": True})
                    peer.close()
                    raise ValueError(wrong)
                peers[index], greetings[index] = peer, greeting
    except TimeoutError:
        missing = [str(index) for index in range(1, count) if index not in peers]
        reason = (
            f"process {' and '.join(missing)} of {count} did not come to {host}:{port} within {timeout:g} s. Start the "
            "same program there, with that number; it must be able to reach this address"
        )
        _dismiss(peers, reason)
        raise LostProcessError(reason) from None
    except BaseException as error:
        _dismiss(peers, str(error) or type(error).__name__)
        raise
    hosts = [each["host"] for each in greetings.values()]
    cores = min(max(each["cores"] // hosts.count(each["host"]), 1) for each in greetings.values())
    processes = Processes(count, 0, [peers[index] for index in sorted(peers)])
    for peer in peers.values():
        peer.set_timeout(None)
    processes.tell({"do": "greet", "cores": cores, **{name: own[name] for name in ("host", "pid")}})
    return processes, cores


def _accept(
    server: socket.socket, deadline: float, wait: Callable[[], object] | None
) -> socket.socket:
    """Wait for a caller, and return the connection; raise a `TimeoutError` if nobody comes."""
    while True:
        if wait is not None:
            wait()
        left = deadline - time.monotonic()
        server.settimeout(max(min(left, 0.5), 0.001))
        try:
            return server.accept()[0]
        except TimeoutError:
            if left <= 0:
                raise


def _dismiss(peers: Mapping[int, _Peer], reason: str) -> None:
    """Tell those who have come that there will be no training."""
    for peer in peers.values():
        with contextlib.suppress(OSError):
            peer.send({"do": "fail", "reason": reason, "is_passed_on": True})
        peer.close()


def _greet(peer: _Peer) -> Message | None:
    """Return what a caller says of itself, None if it is no process of this program."""
    peer.set_timeout(GREETING)
    try:
        greeting, _ = peer.receive(LONGEST_GREETING)
        numbers = [greeting[name] for name in ("count", "index", "pid", "cores")]
        versions, host = greeting["versions"], greeting["host"]
    except (OSError, EOFError, ValueError, TypeError, LookupError):
        return None
    fits = all(type(each) is int and each >= 0 for each in numbers)
    fits = fits and isinstance(versions, dict) and isinstance(host, str)
    return greeting if fits and greeting.get("do") == "greet" else None


def _check_greeting(given: Message, own: Message, peers: Mapping[int, _Peer]) -> str | None:
    """Return what is wrong with a process that has come, None if nothing is."""
    count, index = own["count"], given["index"]
    if given["count"] != count:
        other = given["count"]
        return f"process 0 was told that there are {count} processes, and process {index} that there are {other}"
    if index == 0 or index in peers:
        other = "process 0" if index == 0 else peers[index].name
        return f"two processes have the number {index}: {other}, and PID {given['pid']} on {given['host']}"
    if index >= count:
        return f"there is a process of the number {index}, and numbers go from 0 to {count - 1}"
    if given["versions"] != own["versions"]:
        text = _compare(given["versions"], own["versions"])
        return f"the versions of {_name(count, index, given)} {text} in process 0"
    return None


def _connect(
    count: int,
    index: int,
    host: str,
    port: int,
    deadline: float,
    timeout: float,
    wait: Callable[[], object] | None,
) -> tuple[Processes, int]:
    """Go to process 0, and return it, and how many cores each process may use."""
    where = f"process {index} of {count}"
    while True:
        if wait is not None:
            wait()
        try:
            connection = socket.create_connection((host, port), timeout=GREETING)
            break
        except OSError as error:  # It has not started yet, or its name is not known yet
            if time.monotonic() > deadline:
                raise LostProcessError(
                    f"{where} did not reach process 0 at {host}:{port} within {timeout:g} s: {error}. Start process 0 "
                    "there; this address must be reachable"
                ) from error
            time.sleep(0.2)
    peer = _Peer(connection)
    peer.name = f"process 0 of {count} (at {host}:{port})"
    peer.set_timeout(max(deadline - time.monotonic(), 0) + 2 * GREETING)
    try:
        peer.send(_get_greeting(count, index))
        message, _ = peer.receive()
    except (OSError, EOFError, ValueError) as error:
        peer.close()
        raise LostProcessError(
            f"{where} reached {host}:{port}, and got no answer there: is that process 0?"
        ) from error
    if message["do"] == "fail":
        peer.close()
        raise LostProcessError(message["reason"])
    peer.name = _name(count, 0, message)
    peer.set_timeout(None)
    return Processes(count, index, [peer]), message["cores"]


def _start_jax(
    processes: Processes,
    host: str,
    cores: int,
    devices: int | str,
    most: int | None,
    platform: str | None,
    deadline: float,
) -> None:
    """Start JAX in all processes, and choose their devices."""
    import jax
    from jax.sharding import Mesh

    count = processes.count
    if isinstance(devices, Integral):
        each = int(devices) // count
    else:
        each = cores if most is None else max(min(cores, most // count), 1)
    reserve_devices(each)
    port = processes.share("the port of JAX", _find_port(host) if processes.is_leader else None)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # Its handler of SIGTERM would take the place of ours
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        address,
        count,
        processes.index,
        coordinator_bind_address=address,
        initialization_timeout=max(int(deadline - time.monotonic()), 10),
        shutdown_timeout_seconds=10,
        # Where Slurm starts several processes on a host, JAX gives each a GPU of its own
        cluster_detection_method=None if "SLURM_PROCID" in os.environ else "deactivate",
    )
    local = get_devices(platform=platform)
    found = jax.devices(local[0].platform)
    groups = [[one for one in found if one.process_index == k] for k in range(count)]
    is_cpu = local[0].platform == "cpu"
    if not is_cpu and not isinstance(devices, Integral):
        each = min(map(len, groups))
        each = each if most is None else max(min(each, most // count), 1)
    for k, group in enumerate(groups):
        if len(group) < each:
            raise ValueError(
                f"{each * count} devices are asked for, {each} of each process, but process {k} of {count} has "
                f"{len(group)} of the kind {local[0].platform!r}"
            )
    chosen = [one for group in groups for one in group[:each]]
    processes.mesh = Mesh(np.array(chosen), (AXIS,))
    processes.num_devices = len(chosen)
    with processes.computing():
        connect_devices(processes.mesh)
    if is_cpu:
        # The devices are connected. What is left of JAX's own service would abort the process when another one dies
        jax.distributed.shutdown()


def connect_devices(mesh: "Mesh") -> None:
    """Sum over devices once, so that all of them are connected; raise an error if the sum is wrong."""
    import jax
    from jax.sharding import PartitionSpec

    is_cpu = mesh.devices.flat[0].platform == "cpu"
    whole = PartitionSpec()
    total = jax.jit(
        jax.shard_map(
            lambda: jax.lax.psum(jax.lax.axis_index(AXIS), AXIS),
            mesh=mesh,
            in_specs=(),
            out_specs=whole,
            check_vma=False,
        ),
        compiler_options=WITHOUT_LIMIT if is_cpu else {},
    )()
    found, expected = int(total.addressable_data(0)), mesh.size * (mesh.size - 1) // 2
    if found != expected:
        raise RuntimeError(f"the sum over {mesh.size} devices is {found}, and not {expected}")


def _find_port(host: str) -> int:
    """Return a port that is free on this host."""
    family = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][0]
    with socket.create_server((host, 0), family=family) as server:
        return server.getsockname()[1]


def find_place(environment: Mapping[str, str] | None = None) -> Place:
    """Return the place of this process among those that ``srun`` or ``mpirun`` started.

    Parameters
    ----------
    environment : mapping, optional
        Instead of that of the process.

    Returns
    -------
    Place
        `processes`, `process` and `coordinator`, which is None for ``mpirun``. For ``srun`` the coordinator is the
        first host of the job step, and a port by the number of the job.

    Raises
    ------
    ValueError
        If neither of them has started this process.
    """
    given = os.environ if environment is None else environment
    try:
        if "SLURM_PROCID" in given and "SLURM_STEP_NODELIST" in given:
            first, many = PORTS
            job = int(given["SLURM_JOB_ID"]) * 31 + int(given.get("SLURM_STEP_ID", 0))
            host = _find_first_host(given["SLURM_STEP_NODELIST"])
            count = int(given.get("SLURM_STEP_NUM_TASKS") or given["SLURM_NTASKS"])
            return Place(count, int(given["SLURM_PROCID"]), f"{host}:{first + job % many}")
        if "OMPI_COMM_WORLD_RANK" in given:
            names = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")
            size, rank = (int(given[name]) for name in names)
            return Place(size, rank, None)
    except (ValueError, LookupError) as error:
        raise ValueError(f"the environment of this process is none of Slurm's: {error}") from error
    raise ValueError(
        "neither srun nor mpirun has started this process: give the number of processes and that of this one"
    )


def _find_first_host(hosts: str) -> str:
    """Return the first name of a list of Slurm: ``node[007-009,012],other`` begins with ``node007``."""
    match = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,\[]*))?", hosts)
    if match is None:
        raise ValueError(f"{hosts!r} is no list of hosts")
    return "".join(part or "" for part in match.groups())
