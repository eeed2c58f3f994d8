import json

import numpy as np
import pytest

from lasagne.layers import get_all_layers, get_all_param_values, get_all_params, get_output
from lasagne.nonlinearities import rectify, tanh
from ntm.experiments.defaults import DEFAULTS
from ntm.experiments.networks import (
    CONTROLLERS,
    DNC,
    MODELS,
    NTM,
    SAM,
    SDNC,
    get_model_options,
)
from ntm.experiments.options import get_task_options
from ntm.experiments.settings import Settings, make_settings
from ntm.layers.base import MemoryLayer
from ntm.layers.ntm import NTMLayer
from ntm.tasks import TASKS

pytestmark = pytest.mark.usefixtures("float32")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("task", TASKS)
def test_defaults(task, model):
    settings = make_settings(task, model)
    assert Settings(**json.loads(json.dumps(settings.to_json()))) == settings
    made = settings.make_task()
    l_out = settings.make_network(made)
    assert l_out.output_shape == (None, None, made.num_outputs)
    for sizes in settings.evaluate_at:
        assert made.sample(2, **sizes).mask.any()


def test_there_is_a_block_for_every_task_and_network():
    assert set(DEFAULTS) == set(TASKS)
    for blocks in DEFAULTS.values():
        assert blocks.keys() >= MODELS.keys()
        for name in blocks.keys() - MODELS.keys():
            model, _, controller = name.partition("-")
            assert "controller" in get_model_options(model)
            assert controller in CONTROLLERS


def test_defaults_of_a_controller():
    rates = [
        make_settings("copy", model_options={"controller": controller}).learning_rate
        for controller in CONTROLLERS
    ]
    assert len(set(rates)) > 1
    assert make_settings("copy").learning_rate == rates[0]
    # A stack of LSTM layers is not the NTM with an LSTM controller
    assert make_settings("copy", "lstm").stop_below is None
    assert make_settings("copy", model_options={"controller": "lstm"}).stop_below == 0.001
    # Nor is a DNC, whose controller is an LSTM unless another is asked for
    assert make_settings("copy", "dnc").stop_below is None
    given = make_settings("copy", model_options={"controller": "gru"}, learning_rate=0.5)
    assert given.learning_rate == 0.5


def test_what_is_given_comes_first():
    given = {"task_options": {"size": 3}, "model_options": {"num_units": 7}, "learning_rate": 0.5}
    settings = make_settings("copy", **given, seed=4)
    assert settings.task_options["size"] == 3
    assert settings.model_options["num_units"] == 7
    assert (settings.learning_rate, settings.seed) == (0.5, 4)


def test_options_of_another_curriculum_are_left_out():
    assert make_settings("priority-sort").curriculum_options == {"every": 200}
    linear = make_settings("priority-sort", curriculum="linear", curriculum_options={"add": 2})
    assert linear.curriculum_options == {"every": 200, "add": 2}
    settings = make_settings("priority-sort", curriculum="naive")
    assert settings.curriculum_options == {}
    settings.make_trainer()


@pytest.mark.slow
def test_a_cosine_ends_with_the_training():
    settings = make_settings(
        "sort", schedule="cosine", schedule_options={"last": 0.5}, max_steps=50
    )
    schedule = settings.make_trainer().schedule
    assert schedule(0) == 1
    assert schedule(25) == 0.75
    assert schedule(50) == schedule(90) == 0.5
    given = make_settings("sort", schedule="cosine", schedule_options={"total": 10, "last": 0.0})
    assert given.make_trainer().schedule(5) == 0.5


def test_how_heads_start():
    settings = make_settings("associative-recall")
    layers = get_all_layers(settings.make_network(settings.make_task()))
    l_ntm = next(layer for layer in layers if isinstance(layer, NTMLayer))
    write, read = l_ntm.heads
    assert (write.gate.b.get_value(), read.gate.b.get_value()) == (-3, 2)
    np.testing.assert_array_equal(write.shift.b.get_value(), [-4, -4, 0])
    np.testing.assert_array_equal(read.shift.b.get_value(), [-1, -1, 0])
    assert write.add.nonlinearity is tanh


def test_what_the_memory_of_an_ntm_starts_with():
    task = TASKS["copy"]()
    l_ntm = find_memory(NTM(num_units=5).build(task))
    assert not np.any(l_ntm.memory.memory_init.get_value() > 1e-6)
    assert l_ntm.memory.memory_init not in get_all_params(l_ntm, trainable=True)
    assert l_ntm.heads[0].key.nonlinearity is rectify

    l_ntm = find_memory(NTM(num_units=5, memory_std=0.5).build(task))
    memory_init = l_ntm.memory.memory_init
    assert abs(memory_init.get_value().std() - 0.5) < 0.05
    assert memory_init in get_all_params(l_ntm, trainable=True)
    assert {head.key.nonlinearity for head in l_ntm.heads} == {tanh}

    with pytest.raises(
        ValueError, match="memory_std must be a finite number of at least 0, not -1"
    ):
        NTM(memory_std=-1)


def find_memory(l_out):
    (l_memory,) = [layer for layer in get_all_layers(l_out) if isinstance(layer, MemoryLayer)]
    return l_memory


def test_how_the_heads_of_a_dnc_start():
    biases = {
        "write_gate_bias": 1.0,
        "allocation_gate_bias": 2.0,
        "free_gate_bias": -3.0,
        "forward_bias": 4.0,
    }
    options = {"num_units": 6, "num_reads": 2, "clip": 7.0, **biases}
    l_dnc = find_memory(DNC(**options).build(TASKS["copy"]()))
    assert l_dnc.clip == 7
    write, *reads = l_dnc.heads
    assert (write.write_gate.b.get_value(), write.allocation_gate.b.get_value()) == (1, 2)
    assert len(reads) == 2
    for read in reads:
        assert read.free_gate.b.get_value() == -3
        np.testing.assert_array_equal(read.modes.b.get_value(), [0, 0, 4])


def test_the_slots_and_heads_of_a_sam():
    options = {"num_units": 6, "num_reads": 2, "num_read_slots": 3, "memory_slots": 9}
    biases = {"write_gate_bias": 1.0, "interpolation_gate_bias": -2.0}
    l_sam = find_memory(SAM(**options, **biases).build(TASKS["copy"]()))
    assert (l_sam.num_reads, l_sam.num_read_slots) == (2, 3)
    assert l_sam.memory.memory_shape == (9, 20)
    write = l_sam.heads[0]
    assert write.write_gate.b.get_value() == 1
    assert write.interpolation_gate.b.get_value() == -2


def test_the_slots_and_heads_of_an_sdnc():
    options = {"num_units": 6, "num_reads": 2, "num_read_slots": 3, "num_links": 5}
    biases = {"write_gate_bias": 1.0, "interpolation_gate_bias": -2.0, "forward_bias": 4.0}
    l_sdnc = find_memory(SDNC(**options, **biases).build(TASKS["copy"]()))
    assert (l_sdnc.num_reads, l_sdnc.num_read_slots, l_sdnc.num_links) == (2, 3, 5)
    write, *reads = l_sdnc.heads
    assert write.write_gate.b.get_value() == 1
    assert write.interpolation_gate.b.get_value() == -2
    for read in reads:
        np.testing.assert_array_equal(read.modes.b.get_value(), [0, 0, 4])


def test_the_seed_draws_parameters_and_sequences():
    values = [
        [
            np.concatenate([v.ravel() for v in get_all_param_values(settings.make_network(task))]),
            task.sample(length=5).inputs,
        ]
        for settings in (make_settings("copy", seed=seed) for seed in (1, 1, 2))
        for task in [settings.make_task()]
    ]
    for one, same, other in zip(*values, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)


@pytest.mark.parametrize("model", ["dnc", "sam", "sdnc"])
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_controllers_of_other_memories(model, controller):
    settings = make_settings(
        "copy", model, model_options={"controller": controller, "num_reads": 2, "num_units": 6}
    )
    l_memory = find_memory(settings.make_network(settings.make_task()))
    assert type(l_memory.controller) is CONTROLLERS[controller][0]
    assert (l_memory.num_writes, l_memory.num_reads) == (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_controllers(controller):
    settings = make_settings(
        "copy", model_options={"controller": controller, "num_heads": 2, "num_units": 6}
    )
    l_out = settings.make_network(settings.make_task())
    (l_ntm,) = [layer for layer in get_all_layers(l_out) if isinstance(layer, NTMLayer)]
    assert type(l_ntm.controller) is CONTROLLERS[controller][0]
    assert (l_ntm.num_writes, l_ntm.num_reads) == (2, 2)
    output = get_output(l_out, np.zeros((2, 3, 9), "float32")).eval(mode="FAST_COMPILE")
    assert output.shape == (2, 3, 9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "juggling"}, r"unknown task 'juggling': expected one of copy"),
        ({"model": "rnn"}, r"unknown model 'rnn': expected one of ntm, dnc"),
        ({"optimizer": "luck"}, r"unknown optimizer 'luck'"),
        ({"curriculum": "steep"}, r"unknown curriculum 'steep'"),
        ({"schedule": "sine"}, r"unknown schedule 'sine'"),
        ({"task_options": {"hight": 3}}, r"copy has no option 'hight'; its options are size"),
        ({"model_options": {"num_layers": 3}}, r"ntm has no option 'num_layers'"),
        ({"batch_size": 0}, r"batch_size must be an integer from 1 to 1,000,000, not 0"),
        ({"batch_size": 10**9}, r"batch_size must be an integer from 1 to 1,000,000, not 10{9}"),
        ({"batch_size": 5.0}, r"batch_size must be .*, not 5\.0"),
        ({"seed": -1}, r"seed must be an integer from 0 to 4,294,967,295, not -1"),
        ({"warmup": -5}, r"warmup must be an integer of at least 0, not -5"),
        ({"max_steps": True}, r"max_steps must be .*, not True"),
        ({"log_every": 0}, r"log_every must be an integer of at least 1, not 0"),
        ({"evaluate_every": -1}, r"evaluate_every must be an integer of at least 0, not -1"),
        ({"learning_rate": 0.0}, r"learning_rate must be a finite number above 0, not 0\.0"),
        ({"learning_rate": np.inf}, r"learning_rate must be a finite number above 0, not inf"),
        ({"learning_rate": 1e39}, r"learning_rate must be a finite number above 0, not 1e\+39"),
        ({"learning_rate": None}, r"learning_rate must be .*, not None"),
        ({"clip_norm": -1}, r"clip_norm must be .*, not -1"),
        ({"clip_value": np.nan}, r"clip_value must be a finite number above 0, or None, not nan"),
        ({"stop_below": -1.0}, r"stop_below must be a finite number above 0, or None, not -1\.0"),
        ({"restart_after": -1}, r"restart_after must be an integer of at least 0, not -1"),
        ({"restart_after": 10}, r"restart_after 10 needs restart_above"),
        (
            {"restart_above": 0.0},
            r"restart_above must be a finite number above 0, or None, not 0\.0",
        ),
        ({"task_options": {"size": 8.0}}, r"size must be an integer, not 8\.0"),
        (
            {"model_options": {"num_units": "x"}},
            r"num_units must be an integer of at least 1, not 'x'",
        ),
        (
            {"model_options": {"memory_std": np.nan}},
            r"memory_std must be a finite number of at least 0, not nan",
        ),
    ],
)
def test_settings_that_are_wrong(given, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{"task": "copy", **given})


def test_numbers_become_pythons_own():
    options = {"size": np.int64(3)}
    settings = Settings("copy", batch_size=np.int64(4), learning_rate=1, task_options=options)
    assert settings == Settings(**json.loads(json.dumps(settings.to_json())))
    assert [type(each) for each in (settings.batch_size, settings.learning_rate)] == [int, float]
    assert type(options["size"]) is np.int64  # What was given is left alone


def test_a_batch_that_is_too_large():
    settings = make_settings("copy", batch_size=1_000_000, task_options={"max_length": 100})
    with pytest.raises(ValueError, match=r"a batch of 1,000,000 sequences of up to 202 steps"):
        settings.make_trainer()


def test_parameters_of_a_training_that_begins_anew():
    settings = make_settings("copy", "dense", restart_after=10, restart_above=1.0)
    trainer = settings.make_trainer()
    draws = [get_all_param_values(trainer.l_out), *map(trainer.restarter.redraw, (1, 2, 1))]
    for first, one, two, again in zip(*draws, strict=True):
        assert first.shape == one.shape
        np.testing.assert_array_equal(one, again)
        # Biases begin with zeros
        for a, b in ((first, one), (first, two), (one, two)):
            assert first.ndim == 1 or not np.any(a == b)
    assert make_settings("copy", "dense").make_trainer().restarter is None


@pytest.mark.parametrize("model", ["ntm", "dnc", "sam", "sdnc"])
def test_a_controller_that_there_is_not(model):
    with pytest.raises(ValueError, match=r"unknown controller 'abacus': expected one of dense"):
        make_settings("copy", model, model_options={"controller": "abacus"})


def test_a_model_that_there_is_not():
    with pytest.raises(ValueError, match=r"unknown model 'rnn': expected one of ntm, dnc"):
        make_settings("copy", "rnn")


def test_options_are_those_of_the_classes():
    options = get_task_options("copy")
    assert {name: each.default for name, each in options.items()} == {
        "size": 8,
        "min_length": 1,
        "max_length": 20,
    }
    assert options["max_length"].help == 'largest size "length": vectors in a sequence'
    options = get_model_options("lstm")
    assert {name: each.default for name, each in options.items()} == {
        "embedding_size": 32,
        "num_units": 256,
        "num_layers": 3,
    }
