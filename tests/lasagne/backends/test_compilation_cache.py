"""What XLA compiled is found again by the next process, whatever state its file is in."""

import os
import subprocess
import sys

import pytest

from lasagne.backends.compilation_cache import MAX_BYTES, MIN_SECONDS

PROGRAM = """
import jax, numpy as np, pytensor, pytensor.tensor as pt
from ntm import get_mode
from lasagne.backends.compilation_cache import get_cache_dir

mode = get_mode("jax")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
hits = []
jax.monitoring.register_event_listener(
    lambda event, **kwargs: hits.append(event) if event.endswith("/cache_hits") else None
)
x = pt.matrix()
function = pytensor.function([x], pt.tanh(pt.dot(x, x.T)).sum(), mode=mode)
print(len(hits), float(function(np.eye(3))), jax.config.jax_compilation_cache_dir, get_cache_dir())
"""


def start(folder, program=PROGRAM, **environment):
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("JAX_")},
        "XDG_CACHE_HOME": str(folder),
        "HOME": str(folder),
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    hits, value, used, ours = output.split()
    assert float(value) == pytest.approx(3 * 0.7615941559557649)
    return int(hits), used, ours


def entries(folder):
    return [path for path in folder.rglob("*-cache") if path.is_file()]


@pytest.mark.slow
def test_a_later_process_finds_what_an_earlier_one_compiled(tmp_path):
    hits, used, ours = finish(start(tmp_path))
    assert used == ours
    assert ours.startswith(str(tmp_path))
    assert hits == 0
    files = entries(tmp_path)
    assert files
    assert finish(start(tmp_path))[0] > 0
    assert entries(tmp_path) == files
    for path in files:
        path.write_bytes(path.read_bytes()[:100])
    finish(start(tmp_path))


@pytest.mark.slow
def test_two_processes_at_once(tmp_path):
    for process in [start(tmp_path), start(tmp_path)]:
        finish(process)
    assert finish(start(tmp_path))[0] > 0


@pytest.mark.slow
def test_off_and_elsewhere(tmp_path):
    _, used, _ = finish(start(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false"))
    assert used == "None"
    assert not entries(tmp_path)
    own = tmp_path / "own"
    _, used, _ = finish(start(tmp_path, JAX_COMPILATION_CACHE_DIR=str(own)))
    assert used == str(own)
    assert entries(own) == entries(tmp_path)


@pytest.mark.slow
def test_settings_of_the_user_are_left_alone(tmp_path):
    program = (
        "import jax; from ntm import get_mode; get_mode('jax'); "
        "print(jax.config.jax_persistent_cache_min_compile_time_secs, jax.config.jax_compilation_cache_max_size)"
    )
    names = ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "JAX_COMPILATION_CACHE_MAX_SIZE")
    for values, expected in (
        (("1", "1000"), "1.0 1000"),
        (("7.5", "-1"), f"7.5 {MAX_BYTES}"),
        ((), f"{MIN_SECONDS} {MAX_BYTES}"),
    ):
        process = start(tmp_path, program, **dict(zip(names, values, strict=False)))
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        assert output.strip() == expected
