"""What a node of a cluster checks and does, without Ray."""

import platform

import pytest

from ntm.files import write_json
from ntm.sweeps import ray_node
from ntm.sweeps.ray_node import Outcome, list_versions, make_node_environment, run_on_node


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """What the process of the sweep says; the node sees its folder."""
    monkeypatch.setattr(ray_node, "VISIBLE", 0.2)
    write_json(tmp_path / ray_node.TOKEN, {"token": "abc"})
    return {
        "host": "desk",
        "folder": str(tmp_path),
        "token": "abc",
        "versions": list_versions(),
        "settings": {},
    }


def run(tmp_path, driver, **given):
    return run_on_node(str(tmp_path), "no-trial", None, "attempt", {**driver, **given})


def test_other_versions(tmp_path, driver):
    assert {"ntm-lasagne", "jax", "jaxlib", "numpy", "pytensor"} <= list_versions().keys()
    here = list_versions()["jax"]
    outcome, message = run(tmp_path, driver, versions={**list_versions(), "jax": "0.0.1"})
    assert outcome == Outcome.UNFIT
    assert f"the node {platform.node()} has other packages than desk" in message
    assert f": jax {here} and not 0.0.1. Install the same" in message
    assert "numpy" not in message
    _, message = run(tmp_path, driver, versions={**list_versions(), "odd": "1"})
    assert "odd missing and not 1" in message


@pytest.mark.parametrize("content", [None, '{"token": "of another"}', "damaged", "[]"])
def test_folder_of_another(tmp_path, driver, content):
    path = tmp_path / ray_node.TOKEN
    path.unlink()
    if content is not None:
        path.write_text(content)
    outcome, message = run(tmp_path, driver)
    assert outcome == Outcome.UNFIT
    assert f"the node {platform.node()} does not see what desk writes into {tmp_path}" in message


def test_environment(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--of_the_node")
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    settings = ray_node.pick_settings(
        {"XLA_FLAGS": "--of_the_sweep", "PYTENSOR_FLAGS": "floatX=float32", "HOME": "/home/me"}
    )
    assert settings == {"XLA_FLAGS": "--of_the_sweep", "PYTENSOR_FLAGS": "floatX=float32"}
    made = make_node_environment(settings)
    assert made["XLA_FLAGS"] == "--of_the_sweep --xla_cpu_multi_thread_eigen=false"
    assert made["PYTENSOR_FLAGS"] == "floatX=float32"
    assert made["CUDA_VISIBLE_DEVICES"] == "3"
    assert made["OMP_NUM_THREADS"] == "1"
    assert "JAX_ENABLE_X64" not in made
