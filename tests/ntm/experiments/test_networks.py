"""Networks that are built for data: their inputs, and that they are saved and loaded."""

import numpy as np
import pytensor
import pytest

import ntm
from lasagne.layers import InputLayer, get_all_layers, get_output
from ntm.data import InputLayout, Layout
from ntm.experiments.networks import MODELS

pytestmark = pytest.mark.usefixtures("float32")

#: Inputs of each kind, by name: their layout and values for 3 sequences of 5 steps
RNG = np.random.default_rng(3)
INPUTS = {
    "features": (InputLayout((3,)), RNG.normal(size=(3, 5, 3))),
    "number": (InputLayout(()), RNG.normal(size=(3, 5))),
    "image": (InputLayout((2, 2)), RNG.normal(size=(3, 5, 2, 2))),
    "symbol": (InputLayout((), True, True, 7), RNG.integers(0, 7, (3, 5))),
    "counts": (InputLayout((2,), True, True, 9), RNG.integers(0, 9, (3, 5, 2))),
    "label": (InputLayout((), True, False, 4), RNG.integers(0, 4, 3)),
    "fixed": (InputLayout((4,), has_time=False), RNG.normal(size=(3, 4))),
    "scalar": (InputLayout((), has_time=False), RNG.normal(size=3)),
}


def make_layout(*names):
    return Layout({name: INPUTS[name][0] for name in names}, "classes", 6, True)


def run(l_out):
    """The output for the values of the network's inputs."""
    layers = [layer for layer in get_all_layers(l_out) if isinstance(layer, InputLayer)]
    function = pytensor.function(
        [layer.input_var for layer in layers], get_output(l_out, deterministic=True)
    )
    values = []
    for each in layers:
        value = INPUTS[each.name][1].astype(each.input_var.dtype)
        # A number of a step or sequence is a feature
        values.append(value[..., None] if value.ndim < each.input_var.ndim else value)
    return function(*values)


def find(l_out, name):
    return next(layer for layer in get_all_layers(l_out) if layer.name == name)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ntm", "dense"])
def test_every_kind_of_input_at_once(model, tmp_path):
    l_out = MODELS[model](num_units=4).build(make_layout(*INPUTS))
    assert l_out.output_shape == (None, None, 6)
    output = run(l_out)
    assert output.shape == (3, 5, 6)
    ntm.save(tmp_path / "network.safetensors", l_out)
    np.testing.assert_array_equal(run(ntm.load(tmp_path / "network.safetensors")), output)


@pytest.mark.parametrize("model", MODELS)
def test_every_network_takes_them(model):
    l_out = MODELS[model](num_units=4).build(make_layout(*INPUTS))
    assert l_out.output_shape == (None, None, 6)
    names = {layer.name for layer in get_all_layers(l_out) if isinstance(layer, InputLayer)}
    assert names == INPUTS.keys()


def test_what_the_inputs_are_joined_to():
    network = MODELS["dense"](num_units=4, embedding_size=5)
    l_out = network.build(make_layout(*INPUTS))
    joined = run(find(l_out, "join"))
    symbols, labels = (
        find(l_out, f"{name}.embedding").W.get_value() for name in ("symbol", "label")
    )
    values = {name: value for name, (_, value) in INPUTS.items()}
    expected = [
        values["features"],
        values["number"][:, :, None],
        values["image"].reshape(3, 5, 4),
        symbols[values["symbol"]],
        values["counts"],
        np.repeat(labels[values["label"]][:, None], 5, axis=1),
        np.repeat(values["fixed"][:, None], 5, axis=1),
        np.repeat(values["scalar"][:, None, None], 5, axis=1),
    ]
    np.testing.assert_array_equal(joined, np.concatenate(expected, axis=2).astype("float32"))


@pytest.mark.parametrize("name", [name for name, (each, _) in INPUTS.items() if each.has_time])
def test_one_input(name):
    l_out = MODELS["gru"](num_units=4).build(make_layout(name))
    (l_in,) = (layer for layer in get_all_layers(l_out) if isinstance(layer, InputLayer))
    assert l_in.name == name
    features = (1,) if name == "number" else INPUTS[name][0].features
    assert l_in.output_shape == (None, None, *features)
    assert l_in.input_var.dtype == ("int32" if name == "symbol" else "float32")
    assert run(l_out).shape == (3, 5, 6)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (make_layout("label"), r"DNC\.build: no input has time: .*got label"),
        (make_layout("symbol")._replace(num_outputs=None), r"DNC\.build: .*num_outputs is None"),
    ],
)
def test_a_layout_for_which_there_is_no_network(layout, message):
    with pytest.raises(ValueError, match=message):
        MODELS["dnc"]().build(layout)
