"""How many devices there are, and that JAX is left alone until several are asked for."""

import os
import subprocess
import sys

import numpy as np
import pytest

from lasagne import devices
from lasagne.devices import (
    ALL,
    count_cores,
    get_cache_bytes,
    get_devices,
    has_started,
    reserve_devices,
    start_devices,
)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# ---- cores


@pytest.mark.parametrize(
    ("files", "groups", "limit"),
    [
        ({}, "0::/\n", None),
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
        ({"a/b/cpu.max": "300000 100000\n"}, "0::/a/b\n", 3),
        # The least of the groups above each other counts
        (
            {"a/b/cpu.max": "300000 100000\n", "a/cpu.max": "200000 100000\n"},
            "0::/a/b\n",
            2,
        ),
        ({"a/cpu.max": "200000 100000\n", "b/cpu.max": "1000 100000\n"}, "0::/a\n", 2),
        # The first version of control groups
        (
            {"cpu/a/cpu.cfs_quota_us": "250000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            "5:memory:/a\n4:cpuacct,cpu:/a\n",
            2.5,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu:/\n", None),
        # Nothing that can be read
        ({"cpu.max": "much\n"}, "0::/\n", None),
        ({"cpu.max": ""}, "0::/\n", None),
        ({"cpu.max": "100000 0\n"}, "0::/\n", None),
        ({}, None, None),
        ({"cpu.max": "400000 100000\n"}, "nonsense\n", 4),
    ],
)
def test_limits_of_control_groups(tmp_path, files, groups, limit):
    for name, text in files.items():
        write(tmp_path / "cgroup" / name, text)
    if groups is not None:
        write(tmp_path / "groups", groups)
    assert devices._read_limit(tmp_path / "cgroup", tmp_path / "groups") == limit


@pytest.mark.parametrize(("limit", "cores"), [(None, 6), (1.5, 1), (0.5, 1), (4.0, 4), (100.0, 6)])
def test_cores(monkeypatch, limit, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr(devices, "_read_limit", lambda: limit)
    assert count_cores() == cores


def test_cores_where_there_is_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(devices, "_read_limit", lambda: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert count_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_cores() == 1


def test_bytes_of_the_cache():
    assert 2**14 <= get_cache_bytes() <= 2**30


# ---- devices of this process, of which there are four: see tests/conftest.py


def test_devices():
    assert start_devices(1) == 1
    assert start_devices(3) == 3
    assert start_devices(np.int64(2)) == 2
    assert start_devices(ALL) == start_devices(ALL, "cpu") == len(get_devices()) >= 4
    assert [each.id for each in get_devices(2)] == [each.id for each in get_devices()[:2]]
    assert has_started()


def test_more_devices_than_there_are():
    """The error says what to do."""
    number = len(get_devices()) + 1
    words = rf"devices is {number}, but JAX has \d+ of the kind 'cpu'\. JAX has started already"
    with pytest.raises(ValueError, match=words) as error:
        start_devices(number)
    assert f"lasagne.devices.start_devices({number})" in str(error.value)
    assert f"JAX_NUM_CPU_DEVICES={number}" in str(error.value)


@pytest.mark.parametrize("function", [start_devices, reserve_devices])
@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (0, ValueError),
        (-1, ValueError),
        (10**9, ValueError),
        (True, TypeError),
        (1.0, TypeError),
        ("2", TypeError),
        ("auto", TypeError),
        (None, TypeError),
        (np.array([2]), TypeError),
    ],
)
def test_numbers_that_are_none(function, number, kind):
    with pytest.raises(kind, match="devices must be"):
        function(number)


# ---- processes of their own


def run(code, **environment):
    """Run a program without what this process has set."""
    names = ("PYTENSOR_FLAGS", "JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    others = {name: value for name, value in os.environ.items() if name not in names}
    subprocess.run([sys.executable, "-c", code], env={**others, **environment}, check=True)


@pytest.mark.slow
def test_jax_is_left_alone_until_several_devices_are_asked_for():
    run("""
import ntm, lasagne
from lasagne.devices import *
from ntm.tasks import CopyTask
from ntm.experiments import make_settings
import jax
settings = make_settings("copy", batch_size=16)
start_devices(1)
before = jax.config.jax_num_cpu_devices
assert before < 1, before
ntm.get_mode()
ntm.get_mode("numba")
assert jax.config.jax_num_cpu_devices == before
assert not has_started()
reserve_devices(3)
assert jax.config.jax_num_cpu_devices == max(count_cores(), 3)
reserve_devices(2)
reserve_devices("all")
assert not has_started()
assert start_devices(3) == 3
assert has_started()
assert start_devices("all") == len(jax.devices()) == max(count_cores(), 3)
""")


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"JAX_NUM_CPU_DEVICES": "3"},
        {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"},
    ],
)
def test_a_number_that_the_user_has_set(environment):
    run(
        """
import jax
from lasagne.devices import *
assert start_devices(2) == 2
assert start_devices("all") == len(jax.devices()) == 3
""",
        **environment,
    )


STARTED = """
import jax
assert len(jax.devices()) == 1
import pytest, ntm
from lasagne.devices import start_devices
from ntm.experiments import make_settings
from ntm.training import Trainer
assert start_devices("all") == 1
settings = make_settings("copy", "lstm", batch_size=16, block_size=4)
assert settings.make_trainer().training_step.division == (4, 1)
settings = make_settings("copy", "lstm", batch_size=16, devices=2)
with pytest.raises(ValueError, match="devices is 2, but JAX has 1 .* JAX_NUM_CPU_DEVICES=2"):
    settings.make_trainer()
"""


@pytest.mark.slow
def test_jax_that_has_started_with_one_device():
    """What chooses for itself takes the one; who asks for two is told what to do."""
    run(STARTED)
