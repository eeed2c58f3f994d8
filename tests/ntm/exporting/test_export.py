"""Exported networks, loaded by the code of the how-to page, against the library."""

import json
import os
import re
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

import ntm
from lasagne.layers import (
    BatchNormLayer,
    ConcatLayer,
    DenseLayer,
    DropoutLayer,
    EmbeddingLayer,
    GRULayer,
    InputLayer,
    Layer,
    LSTMLayer,
    RecurrentLayer,
    ReshapeLayer,
    get_all_layers,
    get_all_params,
    get_output,
)
from lasagne.nonlinearities import softmax
from ntm.controllers import GRUController, LSTMController
from ntm.exporting.programs import Programs
from ntm.layers import get_output_and_states
from ntm.layers.stepping import find_stateful_layers

from .. import sdnc_reference
from ..networks import F, data, make_dnc, make_ntm, make_sam, make_sdnc, randomize, to_python

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "export.md"
LOADER = next(
    block
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    if "def load_exported" in block
)
B, T = 3, 4


def load(path):
    names = {}
    exec(LOADER, names)
    return names["load_exported"](path)


@pytest.fixture(autouse=True)
def same_x64():
    """The loader switches 64 bits on for its process."""
    before = jax.config.values["jax_enable_x64"]
    yield
    jax.config.update("jax_enable_x64", before)


def finish(layer, units=2, seed=0):
    l_out = DenseLayer(layer, units, num_leading_axes=2, nonlinearity=None, name="output")
    randomize(l_out, seed)
    return l_out


def make_input(name=None):
    return InputLayer((None, None, F), name=name)


def draw(about, batch, steps):
    """Draw inputs as the description says."""
    rng = np.random.default_rng(batch)
    arrays = {}
    for each in about["inputs"]["arrays"]:
        sizes = {"batch": batch, "time": steps}
        shape = [sizes.get(size, size) for size in each["shape"]]
        if each["is_mask"]:
            lengths = np.arange(batch)[:, None] % steps + 1
            arrays[each["name"]] = (np.arange(steps) < lengths).astype(each["dtype"])
        elif each["dtype"] == "int32":
            arrays[each["name"]] = rng.integers(0, 5, shape).astype("int32")
        else:
            arrays[each["name"]] = rng.normal(size=shape).astype(each["dtype"])
    return arrays


def spread(inputs):
    return inputs if len(inputs) > 1 else next(iter(inputs.values()))


def expect(l_out, compile, inputs, carries):
    """Return the outputs of the library; and the states before and after, by the names of the export."""
    layers = [each for each in get_all_layers(l_out) if isinstance(each, InputLayer)]
    given = {
        layer: pt.as_tensor(value.astype(layer.input_var.dtype))
        for layer, value in zip(layers, inputs.values(), strict=True)
    }
    outputs = get_output(l_out, given, deterministic=True)
    if not carries:
        return compile([], outputs)(), [], []
    batch = len(next(iter(inputs.values())))
    stateful = find_stateful_layers(l_out)
    before = {each: each.get_initial_state(batch) for each in stateful}
    outputs, after = get_output_and_states(l_out, given, before, deterministic=True)
    parts = [
        part for state in (before, after) for each in stateful for part in state[each].flatten()
    ]
    outputs, *parts = compile([], [outputs, *parts])()
    return outputs, parts[: len(parts) // 2], parts[len(parts) // 2 :]


def check(l_out, path, tolerance=1e-12, compile=to_python, sizes=((B, T), (1, 2)), **options):
    """Export a network, and compare all its functions with the library; return the description."""
    about = ntm.export(l_out, path, **options)
    functions, parameters, loaded = load(path)
    assert loaded == about
    np.testing.assert_equal(list(parameters), [e["name"] for e in about["parameters"]["arrays"]])
    assert_close = partial(np.testing.assert_allclose, rtol=0, atol=tolerance)
    names = [each["name"] for each in about["states"]["arrays"]]
    for batch, steps in sizes:
        inputs = draw(about, batch, steps)
        outputs, before, after = expect(l_out, compile, inputs, "run_from" in functions)
        result = functions["run"](parameters, spread(inputs))
        assert result.dtype == about["outputs"]["arrays"][0]["dtype"] == outputs.dtype
        assert_close(result, outputs)
        if "run_from" not in functions:
            continue
        states = functions["initial_states"](parameters, np.zeros(batch, bool))
        for name, part in zip(names, before, strict=True):
            assert_close(states[name], np.broadcast_to(part, states[name].shape), err_msg=name)
        result, last = functions["run_from"](parameters, spread(inputs), states)
        assert_close(result, outputs)
        if "step" in functions:
            steps_in = {each["name"]: each["has_steps"] for each in about["inputs"]["arrays"]}
            for t in range(steps):
                now = {k: v[:, t] if steps_in[k] else v for k, v in inputs.items()}
                output, states = functions["step"](parameters, spread(now), states)
                assert_close(output, outputs[:, t], err_msg=f"step {t}")
            assert_same_states(states, dict(zip(names, after, strict=True)), tolerance)
        assert_same_states(last, dict(zip(names, after, strict=True)), tolerance)
    return about


def assert_same_states(states, expected, tolerance):
    """Equal, and of one dtype; links of a sparse DNC wherever they stand: rounding gives nearly equal ones an order."""
    assert states.keys() == expected.keys()
    for name, part in expected.items():
        assert states[name].dtype == part.dtype
    for name in expected:
        layer, _, kind = name.rpartition(".")
        if kind == "forward_positions":
            states, expected = (spread_links(each, layer) for each in (states, expected))
    for name, part in expected.items():
        np.testing.assert_allclose(states[name], part, rtol=0, atol=tolerance, err_msg=name)


def spread_links(states, layer):
    """States by name, but the links of a layer as rows."""
    own = {name.removeprefix(f"{layer}."): np.asarray(part) for name, part in states.items()}
    return sdnc_reference.spread_links(own, num_slots=own["forward_positions"].shape[-2])


def make_stack():
    """Two inputs, a mask, an embedding, an LSTM below an NTM, a dense layer beside."""
    l_x, l_symbols = make_input("x"), InputLayer((None, None), pt.lmatrix(), name="symbols")
    l_mask = InputLayer((None, None), name="mask")
    l_joined = ConcatLayer([l_x, EmbeddingLayer(l_symbols, 5, 2)], axis=2)
    l_lstm = LSTMLayer(DropoutLayer(l_joined), 3, mask_input=l_mask, name="lstm")
    return finish(BatchNormLayer(l_lstm, axes=(0, 1)))


def make_static():
    """A network without time."""
    l_out = DenseLayer(InputLayer((None, F)), 3, nonlinearity=softmax)
    randomize(l_out)
    return l_out


NETWORKS = {
    "dense": lambda: finish(DenseLayer(make_input(), 3, num_leading_axes=2)),
    "without time": make_static,
    "masked stack": make_stack,
    "ntm": lambda: finish(make_ntm(LSTMController, reads=({}, {}))),
    "sam": lambda: finish(make_sam(num_reads=2)),
    "gru": lambda: finish(GRULayer(make_input(), 3)),
    "recurrent": lambda: finish(RecurrentLayer(make_input(), 3)),
    "dnc": lambda: finish(make_dnc(GRUController, num_writes=2, num_reads=2)),
    "sdnc": lambda: finish(make_sdnc(num_links=3)),
    "sam with an index": lambda: finish(make_sam(nearest="lsh", memory_shape=(32, 3))),
    "large sam": lambda: finish(make_sam(memory_shape=(1000, 3))),
    "ntm on lstm": lambda: finish(make_ntm(incoming=LSTMLayer(make_input(), F))),
}
FAST = ("dense", "without time")
SLOW = ("masked stack", "sam")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            each,
            marks=()
            if each in FAST
            else pytest.mark.slow
            if each in SLOW
            else pytest.mark.exhaustive,
        )
        for each in NETWORKS
    ],
)
def test_equal_to_the_library(name, tmp_path):
    l_out = NETWORKS[name]()
    check(l_out, tmp_path / "network.zip", sizes=((B, T),) if name in SLOW else ((B, T), (1, 2)))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["copy", "copy-sdnc", "associative-recall-lstm"])
def test_trained_networks(name, tmp_path):
    check(ntm.load_model(name), tmp_path / "network.zip", tolerance=1e-10, sizes=((B, T),))


# ---- One network in float32, for what needs no further export


@pytest.fixture(scope="module")
def network():
    """An NTM in float32, whose outputs can be its inputs."""
    with pytensor.config.change_flags(floatX="float32"):
        return finish(make_ntm(LSTMController), units=F)


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "network.zip"
    ntm.export(network, path)
    return path


@pytest.mark.slow
def test_float32_generates_as_the_library(network, file):
    functions, parameters, about = load(file)
    assert not jax.config.values["jax_enable_x64"]
    assert {each["dtype"] for each in about["parameters"]["arrays"]} == {"float32"}
    prefix = data(2, 3, F).astype("float32")
    states = functions["initial_states"](parameters, np.zeros(2, bool))
    outputs, states = functions["run_from"](parameters, prefix, states)
    generated = [outputs[:, -1]]
    for _ in range(3):
        output, states = functions["step"](parameters, generated[-1], states)
        generated.append(output)
    step = ntm.StepFunction(network, 2, mode="FAST_COMPILE")
    expected = ntm.generate(step, prefix, 4)
    np.testing.assert_allclose(np.stack(generated, axis=1), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(functions["run"](parameters, prefix), outputs, rtol=0, atol=1e-6)


ELSEWHERE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pytensor", "lasagne", "ntm"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Blocker())
"""
USE = """
functions, parameters, about = load_exported("network.zip")
x = np.load("x.npy")
states = functions["initial_states"](parameters, np.zeros(len(x), bool))
output, states = functions["step"](parameters, x[:, 0], states)
np.save("output.npy", output)
assert not {"pytensor", "lasagne", "ntm"} & {name.partition(".")[0] for name in sys.modules}
"""


@pytest.mark.slow
def test_runs_in_a_process_without_this_package(network, file, tmp_path):
    (tmp_path / "network.zip").write_bytes(file.read_bytes())
    x = data(2, 1, F).astype("float32")
    np.save(tmp_path / "x.npy", x)
    subprocess.run([sys.executable, "-I", "-c", ELSEWHERE + LOADER + USE], cwd=tmp_path, check=True)
    step = ntm.StepFunction(network, 2, mode="FAST_COMPILE")
    np.testing.assert_allclose(np.load(tmp_path / "output.npy"), step(x[:, 0]), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_what_the_file_holds(network, file):
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        about = json.loads(archive.read("description.json"))
    params = {param.name: param.get_value() for param in get_all_params(network)}
    _, parameters, _ = load(file)
    assert parameters.keys() == params.keys()
    for name, value in parameters.items():
        np.testing.assert_array_equal(value, params[name])
    assert names == {
        "description.json",
        *(each["file"] for each in about["parameters"]["arrays"]),
        *(each["file"] for each in about["functions"].values()),
    }
    assert about["open_sizes"] == ["batch", "time"]
    assert about["inputs"]["arrays"][0]["shape"] == ["batch", "time", F]
    # Parameters are not in the functions once more
    with zipfile.ZipFile(file) as archive:
        text = jax.export.deserialize(bytearray(archive.read("functions/run.stablehlo")))
    constants = re.findall(r"dense<\"0x([0-9A-F]+)\">", text.mlir_module())
    assert all(len(each) < 2 * 4 * 6 * 3 for each in constants)


# ---- Sizes, outputs, gradients


def test_given_sizes(tmp_path):
    l_out = make_static()
    about = ntm.export(l_out, tmp_path / "network.zip", batch_size=2, platforms=["cpu"])
    assert about["inputs"]["arrays"][0]["shape"] == [2, F]
    assert about["open_sizes"] == []
    functions, parameters, _ = load(tmp_path / "network.zip")
    with pytest.raises(ValueError, match="Shape mismatch"):
        functions["run"](parameters, np.zeros((3, F)))


def test_sizes_that_the_network_was_made_for(tmp_path):
    l_in = InputLayer((2, 5, F))
    about = ntm.export(DenseLayer(l_in, 3, num_leading_axes=2), tmp_path / "network.zip")
    assert about["inputs"]["arrays"][0]["shape"] == [2, 5, F]
    assert about["outputs"]["arrays"][0]["shape"] == [2, 5, 3]
    with pytest.raises(ValueError, match=r"batch_size must be 2, .* not 3"):
        ntm.export(l_in, tmp_path / "network.zip", batch_size=3)
    with pytest.raises(ValueError, match=r"num_steps must be 5, .* not 6"):
        ntm.export(l_in, tmp_path / "network.zip", num_steps=6)


def test_several_outputs(tmp_path):
    l_first = make_static()
    l_second = DenseLayer(l_first, 1)
    ntm.export([l_first, l_second], tmp_path / "network.zip")
    functions, parameters, about = load(tmp_path / "network.zip")
    x = data(B, F)
    first, second = functions["run"](parameters, x)
    assert about["outputs"]["given_as"] == "list"
    expected = to_python([l_first.input_layer.input_var], get_output([l_first, l_second]))(x)
    np.testing.assert_allclose(first, expected[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(second, expected[1], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_gradients(tmp_path):
    l_out = finish(GRULayer(make_input(), 2))
    ntm.export(l_out, tmp_path / "network.zip", gradients=True)
    functions, parameters, about = load(tmp_path / "network.zip")
    assert about["gradients"]

    def cost(parameters, x):
        return (functions["run"](parameters, x) ** 2).sum()

    x = data(2, 3, F)
    slopes, slope = jax.grad(cost, (0, 1))(parameters, x)
    l_in = get_all_layers(l_out)[0]
    params = get_all_params(l_out)
    wanted = pytensor.grad((get_output(l_out) ** 2).sum(), [l_in.input_var, *params])
    expected = to_python([l_in.input_var], wanted)(x)
    np.testing.assert_allclose(slope, expected[0], rtol=0, atol=1e-12)
    for param, value in zip(params, expected[1:], strict=True):
        np.testing.assert_allclose(slopes[param.name], value, rtol=0, atol=1e-12)


# ---- Which functions a network has


def has_no_steps(l_out):
    programs = Programs(l_out, None, None)
    assert "step" not in programs.make()
    return programs.left_out["step"]


def test_why_there_is_no_step():
    l_in = make_input()
    l_both = LSTMLayer(l_in, 2, backwards=True, name="back")
    assert has_no_steps(l_both) == "LSTMLayer 'back' runs backwards"
    assert has_no_steps(GRULayer(l_in, 2, only_return_final=True)) == (
        "GRULayer returns its last output only"
    )
    l_flat = ReshapeLayer(GRULayer(l_in, 2), (-1, 2), name="flat")
    assert "'flat'> may mix the steps" in has_no_steps(l_flat)
    l_init = DenseLayer(InputLayer((None, 2), name="start"), 2)
    assert "layer" in has_no_steps(GRULayer(l_in, 2, hid_init=l_init))
    assert "no recurrent layer" in has_no_steps(make_static())


def test_names(tmp_path):
    l_in = InputLayer((None, F), name="in/put")
    l_out = DenseLayer(DenseLayer(l_in, 3, name="../a"), 2, name="../A")
    about = ntm.export(l_out, tmp_path / "network.zip")
    names = [each["name"] for each in about["parameters"]["arrays"]]
    assert names == ["_a.W", "_a.b", "_A.W_2", "_A.b_2"]
    assert about["inputs"]["arrays"][0]["name"] == "in_put"


# ---- What is refused


class Noisy(Layer):
    def get_output_for(self, input, **kwargs):
        rng = pytensor.shared(np.random.default_rng(), "rng")
        return input + pt.random.normal(size=input.shape, rng=rng, return_next_rng=True)[1]


class Counting(Layer):
    def get_output_for(self, input, **kwargs):
        count = pytensor.shared(0.0, "count")
        count.default_update = count + 1
        return input + count


class Odd(Op):
    """An operation that JAX does not know."""

    def make_node(self, x):
        return Apply(self, [x], [x.type()])

    def perform(self, node, inputs, outputs):
        outputs[0][0] = inputs[0]


class Python(Layer):
    def get_output_for(self, input, **kwargs):
        return Odd()(input)


class Splitting(Layer):
    """A layer that JAX runs for known sizes only."""

    def get_output_for(self, input, **kwargs):
        half = input.shape[0] // 2
        parts = pt.split(input, pt.stack([half, input.shape[0] - half]), n_splits=2, axis=0)
        return pt.concatenate(parts[::-1])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda l: "network", TypeError, "must be the last layer of a network"),
        (lambda l: [], TypeError, "must be the last layer of a network"),
        (lambda l: Noisy(l, name="noisy"), ValueError, "<Noisy 'noisy'> draws random numbers"),
        (lambda l: Counting(l), ValueError, r"updates shared variables at each call \(count\)"),
        (lambda l: DenseLayer(Python(l, name="odd"), 2), ValueError, "<Python 'odd'> cannot be"),
        (
            lambda l: DenseLayer(l, 2, W=np.full((F, 2), np.nan)),
            ValueError,
            "'W' holds numbers that are not finite",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Setting default_update")
def test_networks_that_are_refused(make, error, message, tmp_path):
    path = tmp_path / "network.zip"
    path.write_text("old")
    with pytest.raises(error, match=message):
        ntm.export(make(InputLayer((None, F))), path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["network.zip"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, not 0"),
        ({"num_steps": 1.5}, ValueError, "num_steps must be an integer"),
        ({"num_steps": 3}, ValueError, "no input of the network has a time axis"),
        ({"platforms": "cpu"}, TypeError, "must be a list of names"),
        ({"platforms": []}, TypeError, "must be a list of names"),
        ({"platforms": ["cpu", "gpu"]}, ValueError, "unknown platform 'gpu': expected some of cpu"),
        ({"gradients": "yes"}, TypeError, "gradients must be True or False"),
    ],
)
def test_wrong_options(options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        ntm.export(make_static(), tmp_path / "network.zip", **options)


def test_sizes_that_must_be_given(tmp_path):
    l_out = Splitting(InputLayer((None, F)), name="halves")
    with pytest.raises(
        ValueError, match=r"<Splitting 'halves'> cannot .* for any batch; give batch_size"
    ):
        ntm.export(l_out, tmp_path / "network.zip")
    ntm.export(l_out, tmp_path / "network.zip", batch_size=4)


def test_paths(tmp_path):
    with pytest.raises(IsADirectoryError, match="expected the path of a file"):
        ntm.export(make_static(), tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        ntm.export(make_static(), tmp_path / "nowhere" / "network.zip")


def test_without_flatbuffers(tmp_path, monkeypatch):
    monkeypatch.setattr("ntm.exporting.files.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'ntm-lasagne\[export\]'"):
        ntm.export(make_static(), tmp_path / "network.zip")
