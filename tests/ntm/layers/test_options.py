"""The options of the loop, which all memory layers take, and their old names."""

import inspect
import warnings
from functools import partial

import pytest

from lasagne.layers import DenseLayer, InputLayer
from ntm import (
    DNCLayer,
    NTMLayer,
    ReadHead,
    SAMLayer,
    SDNCLayer,
    SharedMemoryLayer,
    WriteHead,
)
from ntm.addressing.nearest import HyperplaneIndex
from ntm.layers.options import LOOP_DEFAULTS, LoopOptions
from ntm.serialization.decoding import decode_network
from ntm.serialization.encoding import encode_network

MEMORY_SHAPE = (9, 4)


def dense(layer):
    return DenseLayer(layer, 5)


def make(kind, **options):
    l_in = InputLayer((None, None, 3))
    if kind is SharedMemoryLayer:
        level = partial(DNCLayer, controller=dense)
        return SharedMemoryLayer(l_in, MEMORY_SHAPE, [level], **options)
    if kind is NTMLayer:
        options["heads"] = [WriteHead, ReadHead]
    return kind(l_in, MEMORY_SHAPE, dense, **options)


KINDS = (NTMLayer, DNCLayer, SAMLayer, SDNCLayer, SharedMemoryLayer)


def test_every_option_has_a_default_and_is_described():
    assert list(LOOP_DEFAULTS) == [name for name in LoopOptions.__annotations__ if name != "name"]
    described = inspect.getdoc(LoopOptions)
    for name in LoopOptions.__annotations__:
        assert f"\n{name} : " in described


@pytest.mark.parametrize("kind", KINDS)
def test_signatures_list_the_options(kind):
    parameters = inspect.signature(kind).parameters
    assert {name: parameters[name].default for name in LOOP_DEFAULTS} == LOOP_DEFAULTS
    layer = make(kind)
    for name, default in LOOP_DEFAULTS.items():
        if name != "mask_input":
            assert getattr(layer, name) == default


@pytest.mark.parametrize("kind", KINDS)
def test_misspelt_options(kind):
    message = rf"{kind.__name__} 'mine': unknown option 'checkpoint_ever'; did you mean 'checkpoint_every'\?"
    with pytest.raises(TypeError, match=message):
        make(kind, checkpoint_ever=2, name="mine")


@pytest.mark.parametrize("kind", KINDS)
def test_the_old_name_of_checkpoint_every(kind):
    message = f"{kind.__name__} 'mine': keep_every is now called checkpoint_every"
    with pytest.warns(DeprecationWarning, match=message) as caught:
        layer = make(kind, keep_every=4, name="mine")
    # Python shows the warning only where it is about the program's own lines
    assert caught[0].filename == __file__
    assert layer.checkpoint_every == 4
    arguments = layer.get_arguments()
    assert arguments["checkpoint_every"] == 4
    assert "keep_every" not in arguments


@pytest.mark.parametrize("kind", KINDS)
def test_an_option_given_by_both_names(kind):
    message = "checkpoint_every and keep_every, its old name, were both given"
    with pytest.raises(TypeError, match=message):
        make(kind, keep_every=4, checkpoint_every=4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_files_with_old_names(kind):
    """They load without a warning."""
    description, arrays = encode_network(make(kind, checkpoint_every=4))
    arguments = description["layers"][-1]["arguments"]
    arguments["keep_every"] = arguments.pop("checkpoint_every")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_network(description, arrays).checkpoint_every == 4


def test_the_old_name_of_the_search_by_hashing():
    for name in ("lsh", "hashing"):
        assert isinstance(make(SAMLayer, nearest=name).search, HyperplaneIndex)


def test_the_old_name_of_last_access():
    for kind in (SAMLayer, SDNCLayer):
        for nearest in ("exact", "lsh"):
            state = make(kind, nearest=nearest).get_initial_state(2)
            message = f"{type(state).__name__}: usage is now called last_access"
            with pytest.warns(DeprecationWarning, match=message):
                assert state.usage is state.last_access
