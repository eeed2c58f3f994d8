"""How processes meet, what they tell each other, and what they say when one is missing."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lasagne import processes
from lasagne.processes import (
    LostProcessError,
    _connect,
    _find_port,
    _gather,
    _get_greeting,
    find_place,
    join_processes,
)

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def port():
    return _find_port(HOST)


def meet(port, count=2, timeout=20.0, after=None, **greetings):
    """Let processes meet that are threads of this one, the followers after an event; return each, or its error."""
    found = [None] * count

    def join(index):
        deadline = time.monotonic() + timeout
        try:
            if index == 0:
                found[0], _ = _gather(count, HOST, port, deadline, timeout, None)
            else:
                assert after is None or after.wait(timeout)
                given = greetings.get("indices", range(count))[index]
                number = greetings.get("counts", [count] * count)[index]
                found[index], _ = _connect(number, given, HOST, port, deadline, timeout, None)
            found[index].listen()
        except Exception as error:
            found[index] = error

    run_threads(join, range(count))
    return found


def run_threads(function, given):
    threads = [threading.Thread(target=function, args=(each,), daemon=True) for each in given]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
        assert not each.is_alive()


def run_in(members, function):
    """Call a function with each process, side by side; return the results, or the errors."""
    found = [None] * len(members)

    def call(index):
        try:
            found[index] = function(members[index])
        except Exception as error:
            found[index] = error

    run_threads(call, range(len(members)))
    return found


def close(members):
    for each in members:
        each.close()


# ---- what they say


def test_messages_and_arrays(port):
    members = meet(port, 3)
    leader, *followers = members
    arrays = [np.arange(6, dtype="float32").reshape(2, 3), np.zeros((0, 4), "bool"), np.array(1.5)]
    leader.tell({"do": "run", "given": [0, {"key": 1}]}, arrays)
    for each in followers:
        message, found = each.receive()
        assert message == {"do": "run", "given": [0, {"key": 1}]}
        for one, other in zip(found, arrays, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
            assert one.flags.writeable
    close(members)


def test_share_and_agree(port):
    members = meet(port, 3)
    assert run_in(members, lambda each: each.share("a number", each.index + 7)) == [7, 7, 7]
    assert run_in(members, lambda each: each.agree("a list", (1, 2))) == [None] * 3
    errors = run_in(members, lambda each: each.agree("settings", {"rate": max(each.index, 1)}))
    assert len({str(error) for error in errors}) == 1
    assert "settings of process 2 of 3" in str(errors[0])
    assert "rate is 2 here, and 1 in process 0 of 3" in str(errors[0])
    # All of them still listen
    assert run_in(members, lambda each: each.share("a number", each.index)) == [0, 0, 0]
    close(members)


def test_programs_that_differ(port):
    members = meet(port)

    def differ(each):
        return each.share("a size", 1) if each.is_leader else each.share("another size", 1)

    _, error = run_in(members, differ)
    assert "expected another size of process 0 of 2" in str(error)
    assert "do not run the same program" in str(error)
    close(members)


def test_ask_to_stop(port):
    leader, follower = members = meet(port)
    asked = threading.Event()
    leader.on_stop = asked.set
    follower.ask_to_stop()
    assert asked.wait(10)
    close(members)


# ---- processes that go


def test_a_process_that_has_gone(port):
    leader, *others = meet(port, 3)
    others[0]._peers[0].close()  # As the system does with the connections of a process that dies
    with pytest.raises(LostProcessError, match=r"process 1 of 3 \(host .*\) has gone"):
        leader._take(leader._peers[0])
    with pytest.raises(LostProcessError, match="process 1 of 3"):
        leader.tell({"do": "run"})
    # The others get to know which one has gone
    with pytest.raises(LostProcessError), leader:
        leader.check()
    with pytest.raises(LostProcessError, match=r"process 1 of 3 .* has gone"):
        others[1].receive()
    close(others)


def test_a_process_that_fails(port):
    leader, follower = meet(port)
    with pytest.raises(KeyError), follower:
        raise KeyError("no such layer")
    with pytest.raises(LostProcessError, match=r"process 1 of 2 .* has failed: 'no such layer'"):
        leader._take(leader._peers[0])
    leader.close()


def test_a_process_that_leaves(port):
    leader, follower = meet(port)
    with leader:
        pass
    with pytest.raises(LostProcessError, match=r"process 0 of 2 .* has left"):
        follower.receive()
    follower.close()


def test_an_error_inside_of_a_computation(port):
    """JAX may notice first that a process has gone."""
    leader, follower = meet(port)

    def fail_later():
        time.sleep(0.3)
        follower._peers[0].close()

    threading.Thread(target=fail_later).start()
    with pytest.raises(LostProcessError, match="process 1 of 2"), leader.computing():
        raise RuntimeError("Connection closed by peer")
    close([leader, follower])


def test_another_error_stays_as_it_is(port, monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 0.2)
    members = meet(port)
    with pytest.raises(RuntimeError, match="out of memory"), members[0].computing():
        raise RuntimeError("out of memory")
    close(members)


WAITS = """
import sys, threading, time
from lasagne import processes
processes.GRACE = 1.0
from test_processes import meet
leader, follower = meet(int(sys.argv[1]))
threading.Timer(0.5, follower._peers[0].close).start()
with leader.computing():
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_wait_that_does_not_end(port):
    """A sum inside of JAX may wait for ever for a process that has gone: then the process itself is ended."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}"}
    began = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-c", WAITS, str(port)], env=environment, capture_output=True, text=True
    )
    assert found.returncode == 1
    assert "process 1 of 2" in found.stderr
    assert "has gone" in found.stderr
    assert "it waited in vain" in found.stderr
    assert time.monotonic() - began < 50


# ---- how they meet


def test_a_process_that_does_not_come(port):
    errors = meet(port, 3, timeout=1.0, indices=[0, 1, 1])
    assert "two processes have the number 1" in str(errors[0])
    with pytest.raises(
        LostProcessError, match=r"process 1 and 2 of 3 did not come .* within 0.5 s"
    ):
        _gather(3, HOST, port, time.monotonic() + 0.5, 0.5, None)
    with pytest.raises(LostProcessError, match=r"process 1 of 2 did not reach process 0 .* 0.5 s"):
        _connect(2, 1, HOST, port, time.monotonic() + 0.5, 0.5, None)


def test_those_who_have_come_get_to_know_who_is_missing(port):
    found = []

    def join(index):
        try:
            if index == 0:
                _gather(3, HOST, port, time.monotonic() + 2, 2.0, None)
            else:
                _connect(3, index, HOST, port, time.monotonic() + 2, 2.0, None)
        except LostProcessError as error:
            found.append(str(error))

    run_threads(join, [0, 1])
    assert len(found) == 2
    assert all("process 2 of 3 did not come" in each for each in found)


def test_numbers_that_do_not_fit(port):
    errors = meet(port, counts=[2, 3])
    assert all("there are 2 processes, and process 1 that there are 3" in str(e) for e in errors)


def test_other_versions(port, monkeypatch):
    other = _get_greeting(2, 1)
    other["versions"] = {**other["versions"], "jax": "0.1"}
    own = _get_greeting(2, 0)
    monkeypatch.setattr(processes, "_get_greeting", lambda count, index: other if index else own)
    errors = meet(port)
    assert all('jax is "0.1" here' in str(error) for error in errors)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("!Q", 2**40),
        struct.pack("!Q", 2) + b"[]",
        struct.pack("!Q", 30) + json.dumps({"message": {}, "arrays": []}).encode().ljust(30),
        struct.pack("!Q", 40)
        + json.dumps({"message": {}, "arrays": [["float99", [2]]]}).encode().ljust(40),
    ],
    ids=["nothing", "http", "too long", "a list", "no greeting", "no type"],
)
def test_strangers_are_ignored(port, said):
    knocked, latest = threading.Event(), time.monotonic() + 20

    def knock():
        while time.monotonic() < latest:
            try:
                with socket.create_connection((HOST, port)) as connection:
                    connection.sendall(said)
                return knocked.set()
            except ConnectionRefusedError:
                time.sleep(0.02)

    threading.Thread(target=knock, daemon=True).start()
    members = meet(port, after=knocked)
    assert knocked.is_set()
    assert run_in(members, lambda each: each.share("a number", 3)) == [3, 3]
    close(members)


def test_a_port_that_is_taken():
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(OSError, match=f"process 0 cannot listen on {HOST}:{port}"):
            _gather(2, HOST, port, time.monotonic() + 1, 1.0, None)


def test_a_wait_that_is_ended(port):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _gather(2, HOST, port, time.monotonic() + 30, 30.0, stop)
    with pytest.raises(KeyboardInterrupt):
        _connect(2, 1, HOST, port, time.monotonic() + 30, 30.0, stop)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 1}, "count must be an integer from 2, not 1"),
        ({"count": "2"}, "count must be an integer"),
        ({"index": 2}, "index must be from 0 to 1, not 2"),
        ({"index": -1}, "index must be an integer from 0"),
        ({"coordinator": "somewhere"}, "HOST:PORT, such as"),
        ({"coordinator": "host:99999"}, "HOST:PORT"),
        ({"coordinator": 29400}, "HOST:PORT"),
        ({"devices": 3}, "3 devices cannot be divided over 2 processes"),
        ({"devices": 0}, "devices must be a positive integer or 'auto', not 0"),
    ],
)
def test_wrong_arguments(given, message):
    with pytest.raises(ValueError, match=message):
        join_processes(**{"count": 2, "index": 0, "coordinator": "127.0.0.1:29400", **given})


# ---- Slurm and Open MPI


def test_places():
    slurm = {
        "SLURM_JOB_ID": "1234",
        "SLURM_STEP_ID": "2",
        "SLURM_NTASKS": "8",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "3",
        "SLURM_STEP_NODELIST": "node[007-009,012],other",
    }
    assert find_place(slurm) == (4, 3, "node007:28256")
    for hosts, first in {
        "one": "one",
        "one,two": "one",
        "rack1-node[3,5]-ib": "rack1-node3-ib",
    }.items():
        assert find_place({**slurm, "SLURM_STEP_NODELIST": hosts}).coordinator == f"{first}:28256"
    mpi = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}
    assert find_place(mpi) == (2, 1, None)
    with pytest.raises(ValueError, match="neither srun nor mpirun"):
        find_place({})
    with pytest.raises(ValueError, match="none of Slurm's"):
        find_place({**slurm, "SLURM_JOB_ID": "many"})


# ---- real processes, with JAX

SUMS = """
import sys, time
from lasagne.processes import connect_devices, join_processes
with join_processes(2, int(sys.argv[1]), sys.argv[2], devices=4, timeout=60) as processes:
    assert processes.num_devices == 4
    print("joined", flush=True)
    while True:
        with processes.computing():
            connect_devices(processes.mesh)
        time.sleep(0.05)
"""


@pytest.mark.slow
def test_the_leader_is_killed(port):
    """The other process ends by itself, with a Python error instead of an abort."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    members = [
        subprocess.Popen(
            [sys.executable, "-c", SUMS, str(index), f"{HOST}:{port}"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    try:
        for each in members:
            while "joined" not in (line := each.stdout.readline()):
                assert line, each.communicate()
        members[0].kill()
        _, error = members[1].communicate(timeout=60)
    finally:
        for each in members:
            each.kill()
            each.communicate()
    assert members[1].returncode == 1
    assert "LostProcessError: process 0 of 2" in error
    assert "has gone" in error
    assert "Check failure" not in error
