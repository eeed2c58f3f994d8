import errno
import os

import numpy as np
import pytensor
import pytest

import ntm
from lasagne.layers import (
    DenseLayer,
    InputLayer,
    get_all_layers,
    get_all_param_values,
    get_all_params,
    set_all_param_values,
)
from lasagne.nonlinearities import linear, rectify
from ntm.controllers import GRUController, LSTMController
from ntm.serialization import (
    load_parameters,
    set_first_layout_values,
    set_later_layout_values,
)

from ..networks import ORIGINAL_GRU, H, make_ntm


def make_network(seed=0, units=2, **options):
    return DenseLayer(make_ntm(seed=seed, **options), units, num_leading_axes=2, name="dense")


def write_npz(path, network):
    """Write parameters as versions before 0.5 did."""
    params = get_all_params(network)
    arrays = {
        f"{k:03d} {param.name or ''}".strip(): param.get_value() for k, param in enumerate(params)
    }
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def values_equal(one, other):
    pairs = zip(get_all_param_values(one), get_all_param_values(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_round_trip(tmp_path):
    network, other = make_network(seed=0), make_network(seed=1)
    assert not values_equal(network, other)
    write_npz(tmp_path / "net.npz", network)
    load_parameters(str(tmp_path / "net.npz"), other)
    assert values_equal(network, other)
    assert [file.name for file in tmp_path.iterdir()] == ["net.npz"]


def test_more_than_a_thousand_bytes_of_names(tmp_path):
    """Parameters without names, and many of them, keep their order."""
    network = make_network(controller=LSTMController, writes=[{}] * 3, reads=[{}] * 3)
    for param in get_all_params(network):
        param.name = None
    expected = get_all_param_values(network)
    assert len(expected) > 99
    write_npz(tmp_path / "net.npz", network)
    set_all_param_values(network, [np.zeros_like(value) for value in expected])
    load_parameters(tmp_path / "net.npz", network)
    for value, wanted in zip(get_all_param_values(network), expected, strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        load_parameters(tmp_path / "none.npz", make_network())
    for read in (ntm.load, ntm.read_notes):
        with pytest.raises(
            FileNotFoundError,
            match=r"no file .*none\.safetensor; expected a network that ntm\.save",
        ):
            read(tmp_path / "none.safetensor")


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"text", lambda b: b[: len(b) // 2]])
def test_damaged_file(tmp_path, damage):
    network = make_network()
    path = tmp_path / "net.npz"
    write_npz(path, network)
    path.write_bytes(damage(path.read_bytes()))
    before = get_all_param_values(network)
    with pytest.raises(ValueError, match=r"net\.npz is (not a file of|empty)"):
        load_parameters(path, network)
    for value, wanted in zip(get_all_param_values(network), before, strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_parameters_of_another_network(tmp_path):
    path = tmp_path / "net.npz"
    write_npz(path, make_network())
    with pytest.raises(ValueError, match=r"holds \d+ parameters, but the network has \d+"):
        load_parameters(path, make_network(controller=LSTMController, reads=[]))
    wider = make_network(units=3)
    before = get_all_param_values(wider)
    with pytest.raises(ValueError, match=r"'dense.W' of shape \(5, 2\) .* \(5, 3\)"):
        load_parameters(path, wider)
    for value, wanted in zip(get_all_param_values(wider), before, strict=True):
        np.testing.assert_array_equal(value, wanted)
    renamed = make_network()
    renamed.W.name = "other.W"
    with pytest.raises(ValueError, match=r"'dense.W' .* 'other.W'"):
        load_parameters(path, renamed)


def test_parameters_of_heads_that_had_no_names(tmp_path):
    network, other = make_network(seed=0), make_network(seed=1)
    for param in get_all_params(network):
        for head in ("write0.", "read0."):
            param.name = param.name.removeprefix(head)
    assert {"key.W", "erase.b"} <= {param.name for param in get_all_params(network)}
    write_npz(tmp_path / "net.npz", network)
    load_parameters(tmp_path / "net.npz", other)
    assert values_equal(network, other)
    write_npz(tmp_path / "net.npz", other)
    with pytest.raises(ValueError, match=r"holds 'write0\..+' of shape"):
        load_parameters(tmp_path / "net.npz", network)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones(2, complex), "of dtype complex"),
        (np.array([b"1", b"2"]), r"of dtype \|S1"),
        (np.zeros(2, "datetime64[s]"), r"of dtype datetime64\[s\]"),
        (np.ones(2, bool), "of dtype bool"),
        (np.array([0, 1e300]), "too large for float32"),
        (np.array([0, np.nan]), "'dense.b' holds numbers that are not finite"),
        (np.array([None, 1]), "of dtype object"),
    ],
)
def test_values_that_are_none_of_a_parameter(value, message, tmp_path, monkeypatch):
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    network = DenseLayer(InputLayer((2, 3)), 2, name="dense")
    before = get_all_param_values(network)
    with open(tmp_path / "x.npz", "wb") as file:
        np.savez(file, **{"000 dense.W": np.ones((3, 2)), "001 dense.b": value})
    with pytest.raises(ValueError, match=rf"x\.npz.* '?dense\.b'?.*{message}|x\.npz.*{message}"):
        load_parameters(tmp_path / "x.npz", network)
    for param, wanted in zip(get_all_param_values(network), before, strict=True):
        np.testing.assert_array_equal(param, wanted)


def test_values_of_another_precision(tmp_path, monkeypatch):
    network = DenseLayer(InputLayer((2, 3)), 2, name="dense")
    write_npz(tmp_path / "x.npz", network)
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    other = DenseLayer(InputLayer((2, 3)), 2, name="dense")
    load_parameters(tmp_path / "x.npz", other)
    assert other.W.get_value().dtype == "float32"
    np.testing.assert_array_equal(other.W.get_value(), network.W.get_value().astype("float32"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_not_saved(value, tmp_path):
    network = make_network()
    path = tmp_path / "net"
    ntm.save(path, network)
    content = path.read_bytes()
    network.b.set_value(np.array([0, value], network.b.dtype))
    with pytest.raises(ValueError, match=r"net: the parameter 'dense\.b' holds .* not finite"):
        ntm.save(path, network)
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["net"]


# ---- ntm-lasagne's later layout


def later_layout(network):
    """The same values as ntm-lasagne's later files have them."""
    values, held = [], None
    for param in get_all_params(network):
        value = param.get_value()
        if param.name.endswith("weights_init"):
            held = value
            continue
        in_head = param.name.startswith(("write", "read"))
        values.append(value[None] if in_head else value)
        if param.name.endswith("gamma.b"):
            values.append(held)
    return values


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"controller": LSTMController, "writes": [{}, {}], "reads": [{}, {"num_shifts": 2}]},
        {"writes": []},
    ],
)
def test_later_layout(options):
    network, other = make_network(seed=0, **options), make_network(seed=1, **options)
    set_later_layout_values(other, later_layout(network))
    assert values_equal(network, other)


@pytest.mark.parametrize("controller", [LSTMController, ORIGINAL_GRU])
def test_first_layout(controller):
    network, other = (make_network(seed=k, controller=controller) for k in range(2))
    set_first_layout_values(other, get_all_param_values(network))
    assert values_equal(network, other)


@pytest.mark.parametrize(
    ("load", "layout"),
    [
        (set_first_layout_values, get_all_param_values),
        (set_later_layout_values, lambda network: later_layout(network)),
    ],
)
@pytest.mark.parametrize(
    ("controller", "options", "message"),
    [
        (GRUController, {}, "GRUController 'controller': .* equation='ntm-lasagne', not 'lasagne'"),
        (
            ORIGINAL_GRU,
            {"nonlinearity": rectify},
            "GRUController 'controller': .* nonlinearity=tanh, not .*rectify",
        ),
        (
            LSTMController,
            {"nonlinearity": rectify},
            "LSTMController 'controller': .* nonlinearity=tanh, not .*rectify",
        ),
    ],
)
def test_layouts_of_ntm_lasagne_need_its_equations(load, layout, controller, options, message):
    network = make_network(controller=controller, controller_options=options)
    values = layout(network)
    with pytest.raises(ValueError, match=message):
        load(network, values)


def test_later_layout_of_another_network():
    network = make_network()
    values = later_layout(network)
    with pytest.raises(ValueError, match=r"got \d+ values, but the network has \d+ parameters"):
        set_later_layout_values(network, values[:-1])
    values[-1] = np.zeros(3)
    with pytest.raises(ValueError, match=r"dense.b has shape \(2,\), .* shape \(3,\)"):
        set_later_layout_values(network, values)


def test_later_layout_without_memory():
    network = DenseLayer(InputLayer((None, H)), 2)
    set_later_layout_values(network, [np.ones((H, 2)), np.ones(2)])
    np.testing.assert_array_equal(network.W.get_value(), np.ones((H, 2)))


# ---- whole networks; the rest is in test_serialization.py


def test_whole_network(tmp_path):
    network = make_network()
    path = tmp_path / "some.network"
    ntm.save(path, network)
    again = ntm.load(str(path))
    assert values_equal(network, again)
    assert [layer.name for layer in get_all_layers(again)] == [None, None, "dense"]
    assert [each.name for each in tmp_path.iterdir()] == ["some.network"]


def test_equation_and_missing_nonlinearity_are_kept(tmp_path):
    path = tmp_path / "some.network"
    ntm.save(path, make_network(controller=ORIGINAL_GRU, controller_options={"nonlinearity": None}))
    controller = get_all_layers(ntm.load(path))[1].controller
    assert (controller.equation, controller.nonlinearity) == ("ntm-lasagne", linear)


def test_failed_save_of_a_network_leaves_the_old_file(tmp_path, monkeypatch):
    network, path = make_network(seed=0), tmp_path / "some.network"
    ntm.save(path, network)

    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*some\.network'"):
        ntm.save(path, make_network(seed=1))
    assert values_equal(ntm.load(path), network)
    assert list(tmp_path.iterdir()) == [path]


def test_parameters_of_a_network_in_a_file(tmp_path):
    network, other, path = make_network(seed=0), make_network(seed=1), tmp_path / "some.network"
    ntm.save(path, network)
    load_parameters(path, other)
    assert values_equal(network, other)
    wider = make_network(units=3)
    with pytest.raises(ValueError, match=r"'dense.W' of shape \(5, 2\) .* \(5, 3\)"):
        load_parameters(path, wider)
    write_npz(path, network)
    with pytest.raises(ValueError, match="is not a file of arrays: another program wrote it"):
        ntm.load(path)
