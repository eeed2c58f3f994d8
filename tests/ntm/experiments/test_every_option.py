"""Every setting, and every option of a network or task, has an effect. A new one without an entry here fails."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from lasagne.layers import get_all_param_values
from lasagne.updates import adam
from ntm.data import InputLayout, Layout
from ntm.experiments.networks import MODELS, get_model_options
from ntm.experiments.options import get_options, get_task_options
from ntm.experiments.runs import Run
from ntm.experiments.settings import Settings, make_settings
from ntm.serialization.encoding import encode_network
from ntm.tasks import TASKS
from ntm.training.division import WHOLE
from ntm.training.task_source import TaskSource
from ntm.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("float32")

#: Options of the smallest networks
TINY = {"num_units": 4, "memory_slots": 9, "memory_width": 3, "num_layers": 1}


class Received(Trainer):
    """A trainer that keeps what it is given, and neither compiles nor trains."""

    def __init__(self, l_out, task, **given):
        self.l_out, self.given = l_out, given
        self.source = TaskSource(task, "uniform", None, 1, 0)
        self.params, self.losses, self.skipped = [], [], []
        self.training_step = SimpleNamespace(division=WHOLE, processes=None)
        self.step_count, self.solved_at, self.restarter = 0, None, given["restarter"]
        self._seconds, self._started = 0.0, None

    def make_course(self, max_steps, **given):
        self.given |= {"max_steps": max_steps, **given}
        return "interrupted"
        yield


@pytest.fixture
def receive(monkeypatch, tmp_path):
    """A function from settings to what the trainer of a run with them is given."""

    def receive(**settings):
        monkeypatch.setattr("ntm.experiments.settings.Trainer", Received)
        monkeypatch.setattr(
            "ntm.experiments.training_settings.get_mode", lambda backend, device: (backend, device)
        )
        made = make_settings(
            **{"task": "copy", "model": "dense", "model_options": TINY_STACK} | settings
        )
        run = Run.create(tmp_path / "run", made)
        run.train(progress=False)
        return run.trainer

    return receive


TINY_STACK = {"num_units": 4, "num_layers": 1}

#: For each setting a value that is not the default, and what it does to the trainer of a run
SETTINGS = {
    "task": ("sort", lambda t: type(t.task) is TASKS["sort"]),
    "model": ("gru", lambda t: t.l_out.input_layer.name == "gru1"),
    "task_options": ({"size": 3}, lambda t: t.task.size == 3),
    "model_options": ({"num_units": 7}, lambda t: t.l_out.input_layer.num_units == 7),
    "seed": (5, lambda t: t.given["seed"] == 5),
    "batch_size": (3, lambda t: len(t.task.sample().inputs) == 3),
    "max_steps": (17, lambda t: t.given["max_steps"] == 17),
    "optimizer": ("adam", lambda t: t.given["update"] is adam),
    "learning_rate": (0.5, lambda t: t.given["learning_rate"] == 0.5),
    "schedule": ("exponential", lambda t: t.given["schedule"](10_000) == 0.5),
    "schedule_options": ({"decay": 0.25}, lambda t: t.given["schedule"](10_000) == 0.25),
    "warmup": (9, lambda t: t.given["schedule"](0) == 0.1),
    "clip_value": (None, lambda t: t.given["clip_value"] is None),
    "clip_norm": (2.0, lambda t: t.given["clip_norm"] == 2.0),
    "curriculum": ("naive", lambda t: t.given["curriculum"] == "naive"),
    "curriculum_options": (
        {"advance_below": 0.2},
        lambda t: t.given["curriculum_options"] == {"advance_below": 0.2},
    ),
    "rewind": (False, lambda t: t.given["rewind"] is False),
    "restart_after": (11, lambda t: t.restarter.after == 11),
    "restart_above": (0.3, lambda t: t.restarter.above == 0.3),
    "stop_below": (0.7, lambda t: t.given["solved_below"] == 0.7),
    "num_buckets": (6, lambda t: t.given["num_buckets"] == 6),
    "solve_every": (13, lambda t: t.given["solve_every"] == 13),
    "evaluate_every": (19, lambda t: t.given["evaluate_every"] == 19),
    "evaluate_at": ([{"length": 2}], lambda t: t.given["evaluate_at"] == [{"length": 2}]),
    "log_every": (23, lambda t: t.given["log_every"] == 23),
    "save_every": (29, lambda t: t.given["save_every"] == 29),
    "backend": ("numba", lambda t: t.given["mode"] == ("numba", None)),
    "device": ("cpu", lambda t: t.given["mode"] == ("jax", "cpu")),
    "block_size": (3, lambda t: t.given["block_size"] == 3),
    "devices": ("all", lambda t: t.given["devices"] == "all"),
}
#: Settings that another one needs
WITH = {
    "schedule_options": {"schedule": "exponential"},
    "curriculum_options": {"curriculum": "naive"},
    "restart_after": {"restart_above": 1.0},
    "restart_above": {"restart_after": 2},
}


def test_every_setting_is_in_the_table():
    assert SETTINGS.keys() == get_options(Settings).keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_reaches_the_trainer(name, receive):
    value, has_effect = SETTINGS[name]
    others = WITH.get(name, {})
    if name == "model_options":
        value = {**TINY_STACK, **value}
    assert has_effect(receive(**others, **{name: value}))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_table_tells_settings_from_defaults(name, receive):
    has_effect = SETTINGS[name][1]
    trainer = receive()
    if name in ("restart_after", "restart_above"):
        assert trainer.restarter is None
    else:
        assert not has_effect(trainer)


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [{"optimizer": "adam"}, {"clip_value": 1e-3}, {"clip_norm": 1e-3}, {"warmup": 9}],
    ids=lambda given: next(iter(given)),
)
def test_settings_that_change_a_step(given):
    values = []
    for settings in ({}, given):
        made = make_settings(
            "copy",
            "dense",
            model_options=TINY_STACK,
            task_options={"size": 1, "max_length": 2},
            **{"clip_value": None, **settings},
        )
        trainer = made.make_trainer()
        for _ in range(2):
            trainer.step()
        values.append(
            np.concatenate([each.ravel() for each in get_all_param_values(trainer.l_out)])
        )
    assert np.abs(values[0] - values[1]).max() > 1e-7


@pytest.mark.slow
def test_settings_that_change_a_run():
    made = make_settings("copy", "dense", model_options=TINY_STACK, rewind=False, num_buckets=4)
    trainer = made.make_trainer()
    assert trainer.rewinder is None
    lengths = {trainer.sample().mask.shape[1] for _ in range(50)}
    assert lengths == {11, 21, 32, 42}


# ---- Options of networks

#: A value of each option that is not the default
OTHER = {
    "embedding_size": 7,
    "controller": "gru",
    "num_units": 5,
    "memory_slots": 11,
    "memory_width": 4,
    "num_layers": 2,
    "num_heads": 2,
    "num_reads": 2,
    "num_shifts": 4,
    "nonlinearity_add": "tanh",
    "memory_std": 0.5,
    "clip": None,
    "num_read_slots": 3,
    "num_links": 3,
    "nearest": "lsh",
    **dict.fromkeys(
        [
            "write_interpolation_bias",
            "read_interpolation_bias",
            "write_shift_bias",
            "read_shift_bias",
            "write_gate_bias",
            "allocation_gate_bias",
            "free_gate_bias",
            "forward_bias",
            "interpolation_gate_bias",
        ],
        0.75,
    ),
}


def describe_network(model, options):
    """A network for symbols as it is saved: its layers and all values."""
    tiny = {name: value for name, value in TINY.items() if name in get_model_options(model)}
    settings = Settings("copy", model, model_options={**tiny, **options})
    layout = Layout({"inputs": InputLayout((), True, num_symbols=5)}, "bits", 3, True)
    metadata, arrays = encode_network(settings.make_network(layout))
    arrays = {name: np.asarray(array).tolist() for name, array in arrays.items()}
    return json.dumps([metadata, arrays], default=repr)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_option_of_a_network_changes_it(model):
    before = describe_network(model, {})
    assert describe_network(model, {}) == before
    for name in get_model_options(model):
        assert describe_network(model, {name: OTHER[name]}) != before, name


# ---- Options of tasks


def describe_task(task, options):
    made = Settings(task, task_options=options, seed=3, batch_size=4).make_task()
    return [
        made.sizes,
        made.num_inputs,
        made.num_outputs,
        *(part.tolist() for part in made.sample()),
    ]


@pytest.mark.parametrize("task", TASKS)
def test_every_option_of_a_task_changes_it(task):
    before = describe_task(task, {})
    assert describe_task(task, {}) == before
    for name, each in get_task_options(task).items():
        if each.kind is bool:
            others = [not each.default]
        else:
            others = [each.default + 1, each.default - 1]
        for other in others:
            try:
                after = describe_task(task, {name: other})
            except ValueError:  # Beyond the other end of a range
                continue
            assert after != before, name
            break
        else:
            pytest.fail(f"no other value of {name}")
