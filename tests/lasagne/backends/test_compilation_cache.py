"""What XLA compiled is found again by the next process, whatever state its file is in."""

import os
import subprocess
import sys

import pytest

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


def start(folder, **environment):
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("JAX_")},
        "XDG_CACHE_HOME": str(folder),
        "HOME": str(folder),
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True
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
