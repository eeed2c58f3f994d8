"""Networks for tasks and data: those with a memory, and those they are compared with.

Each class holds the options of a network, and its :meth:`Network.build` makes the layers for a task or for data.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytensor.tensor as pt

from lasagne.init import Constant, Normal
from lasagne.layers import (
    ConcatLayer,
    DenseLayer,
    EmbeddingLayer,
    FlattenLayer,
    GRULayer,
    InputLayer,
    Layer,
    LSTMLayer,
    RepeatLayer,
)
from lasagne.nonlinearities import linear, rectify, sigmoid, softplus, tanh
from lasagne.utils import floatX
from ntm.controllers import (
    Controller,
    DenseController,
    GRUController,
    LSTMController,
    RecurrentController,
)
from ntm.data.layout import InputLayout, Layout
from ntm.experiments.options import Option, check_options, document_options, get_options, option
from ntm.heads.base import MemoryHead
from ntm.heads.dnc import DNCReadHead, DNCWriteHead
from ntm.heads.ntm import Head, ReadHead, WriteHead
from ntm.heads.sparse import SAMReadHead, SAMWriteHead, SDNCReadHead
from ntm.layers.dnc import DNCLayer
from ntm.layers.ntm import NTMLayer
from ntm.layers.sam import SAMLayer
from ntm.layers.sdnc import SDNCLayer
from ntm.memory import Memory
from ntm.nonlinearities import one_plus_softplus
from ntm.tasks import Task
from ntm.typing import Array, MemoryShape

CONTROLLERS: dict[str, tuple[type[Controller], Callable]] = {
    "dense": (DenseController, rectify),
    "recurrent": (RecurrentController, tanh),
    "gru": (GRUController, tanh),
    "lstm": (LSTMController, tanh),
}

ADD_NONLINEARITIES: dict[str, Callable] = {"rectify": rectify, "tanh": tanh}


@dataclass(frozen=True, kw_only=True)
class Network(ABC):
    """Base class of the networks.

    Raises
    ------
    ValueError
        If an option is of another type, outside its range or none of its choices.
    """

    def __post_init__(self) -> None:
        check_options(type(self).__name__, vars(self), get_options(type(self)))

    embedding_size: int = option(
        32, "numbers that stand for a symbol, learnt, where the inputs are symbols", low=1
    )

    def build(self, data: Task | Layout) -> Layer:
        """Build the layers for a task, or for data of a layout.

        Several inputs are joined along their features. An input without time is repeated at each step. Symbols become
        learnt vectors (:class:`lasagne.layers.EmbeddingLayer`), integers with features numbers.

        Parameters
        ----------
        data : Task or Layout

        Returns
        -------
        Layer (B, T, O)
            The output layer. It has no nonlinearity: its outputs are logits, or the numbers themselves.

        Raises
        ------
        ValueError
            If no input has time, or the layout does not say how many outputs there are.
        """
        if isinstance(data, Layout):
            l_input, num_outputs = self._make_inputs(data), data.num_outputs
        else:
            l_input = InputLayer((None, None, data.num_inputs), name="input")
            num_outputs = data.num_outputs
        if num_outputs is None:
            raise ValueError(
                f"{type(self).__name__}.build: the layout must say how many outputs there are: num_outputs is None"
            )
        return DenseLayer(
            self._build_hidden(l_input),
            num_outputs,
            nonlinearity=linear,
            num_leading_axes=2,
            name="output",
        )

    @abstractmethod
    def _build_hidden(self, l_input: Layer) -> Layer:
        """Build the layers (B, T, units) between the input (B, T, features) and the output layer."""

    def _make_inputs(self, layout: Layout) -> Layer:
        """Return the layer (B, T, features) that joins the inputs of data."""
        vectors = {name: self._make_input(name, each) for name, each in layout.inputs.items()}
        timed = [vectors[name] for name, each in layout.inputs.items() if each.has_time]
        if not timed:
            raise ValueError(
                f"{type(self).__name__}.build: no input has time: expected at least one input (batch, time, ...), got "
                f"{', '.join(layout.inputs)}"
            )
        parts = [
            each
            if layout.inputs[name].has_time
            else RepeatLayer([each, timed[0]], name=f"{name}.repeat")
            for name, each in vectors.items()
        ]
        return parts[0] if len(parts) == 1 else ConcatLayer(parts, axis=2, name="join")

    def _make_input(self, name: str, layout: InputLayout) -> Layer:
        """Return the layers that make one vector of a step of an input, or of an input without time."""
        axes = (None,) * (1 + layout.has_time)
        if takes_symbols(layout):
            symbols = pt.tensor(f"{name}.input", dtype="int32", shape=axes)
            return EmbeddingLayer(
                InputLayer(axes, symbols, name=name),
                layout.num_symbols,
                self.embedding_size,
                name=f"{name}.embedding",
            )
        l_input = InputLayer((*axes, *(layout.features or (1,))), name=name)
        if len(layout.features) > 1:
            return FlattenLayer(l_input, len(axes) + 1, name=f"{name}.flat")
        return l_input


def takes_symbols(layout: InputLayout) -> bool:
    """Tell whether a network takes the integers of an input as symbols rather than as numbers."""
    return layout.is_integer and layout.num_symbols > 0 and not layout.features


def _number_names(kind: str, count: int) -> list[str]:
    """Return names for heads of a kind; a single head has no number."""
    return [kind] if count == 1 else [f"{kind}{k + 1}" for k in range(count)]


# ---- Networks with a memory


@dataclass(frozen=True, kw_only=True)
class MemoryNetwork(Network):
    """Base class of the networks with a memory: the options that all of them have."""

    controller: str = option("lstm", "the network that steers the heads", choices=CONTROLLERS)
    num_units: int = option(100, "units of the controller", low=1)
    memory_slots: int = option(128, "slots of the memory", low=1)
    memory_width: int = option(20, "numbers in a slot", low=1)

    @property
    def memory_shape(self) -> MemoryShape:
        """Slots, and numbers in a slot."""
        return self.memory_slots, self.memory_width

    def _make_memory(self, std: float = 0.0) -> Memory:
        """Return an empty memory, or one that starts with random values, which are learnt."""
        memory_init = Normal(std) if std else Constant(1e-6)
        return Memory(
            self.memory_shape, memory_init=memory_init, learn_init=bool(std), name="memory"
        )

    def _make_controller(self, l_input: Layer, num_reads: int) -> Controller:
        kind, nonlinearity = CONTROLLERS[self.controller]
        return kind(
            l_input,
            memory_shape=self.memory_shape,
            num_units=self.num_units,
            num_reads=num_reads,
            nonlinearity=nonlinearity,
            learn_init=True,
            name="controller",
        )


@document_options
@dataclass(frozen=True, kw_only=True)
class NTM(MemoryNetwork):
    """A Neural Turing Machine with as many write heads as read heads (Graves et al. 2014)."""

    controller: str = option("dense", "the network that steers the heads", choices=CONTROLLERS)
    num_heads: int = option(1, "number of read heads, and of write heads", low=1)
    num_shifts: int = option(3, "number of shifts that a head chooses from", low=1)
    write_interpolation_bias: float = option(
        0.0,
        "initial bias of the write heads' interpolation gate; below zero, a head moves on from its last slot rather "
        "than look for content",
    )
    read_interpolation_bias: float = option(
        0.0, "initial bias of the read heads' interpolation gate, with the same sense"
    )
    write_shift_bias: float = option(
        1.0, "initial preference of the write heads for the shift forward"
    )
    read_shift_bias: float = option(
        1.0, "initial preference of the read heads for the shift forward"
    )
    nonlinearity_add: str = option(
        "rectify", "nonlinearity of the vectors that are written", choices=ADD_NONLINEARITIES
    )
    memory_std: float = option(
        0.0,
        "standard deviation of the initial memory, whose values are then learnt and whose keys have both signs; "
        "0 for an empty memory, whose keys are never negative",
        low=0,
    )

    def _build_hidden(self, l_input: Layer) -> Layer:
        memory = self._make_memory(self.memory_std)
        l_controller = self._make_controller(l_input, self.num_heads)
        heads: list[Head] = [
            WriteHead(
                l_controller,
                nonlinearity_erase=sigmoid,
                nonlinearity_add=ADD_NONLINEARITIES[self.nonlinearity_add],
                b_hid_to_gate=Constant(self.write_interpolation_bias),
                b_hid_to_shift=self._prefer_forward(self.write_shift_bias),
                name=name,
                **self._get_addressing(),
            )
            for name in _number_names("write", self.num_heads)
        ]
        heads += [
            ReadHead(
                l_controller,
                b_hid_to_gate=Constant(self.read_interpolation_bias),
                b_hid_to_shift=self._prefer_forward(self.read_shift_bias),
                name=name,
                **self._get_addressing(),
            )
            for name in _number_names("read", self.num_heads)
        ]
        return NTMLayer(l_input, memory=memory, controller=l_controller, heads=heads, name="ntm")

    def _get_addressing(self) -> dict[str, Any]:
        """Return the arguments that read and write heads share."""
        return {
            "memory_shape": self.memory_shape,
            "num_shifts": self.num_shifts,
            "shift_mode": "circular",
            # Heads tell the slots of a random memory apart by numbers of both signs
            "nonlinearity_key": tanh if self.memory_std else rectify,
            "nonlinearity_beta": softplus,
            "nonlinearity_gate": sigmoid,
            "nonlinearity_gamma": one_plus_softplus,
            "b_hid_to_gamma": Constant(1.0),
            # At first, the moves of a head hardly depend on the input. With larger weights some seeds find algorithms
            # that work only up to the lengths in training
            "W_hid_to_shift": Normal(0.01),
            "W_hid_to_gate": Normal(0.01),
            "W_hid_to_beta": Normal(0.01),
            "W_hid_to_gamma": Normal(0.01),
        }

    def _prefer_forward(self, bias: float) -> Array:
        """Return biases of the shift weights that prefer the step forward.

        Heads that start by moving forward, and sharply, find the algorithms of the copy tasks. Where read and write
        heads start in different directions, training can get stuck; where they start by standing still, they learn to
        blur.
        """
        biases = np.full(self.num_shifts, -float(bias))
        biases[(self.num_shifts - 1) // 2 + 1 :] = 0.0
        return floatX(biases)


@document_options
@dataclass(frozen=True, kw_only=True)
class DNC(MemoryNetwork):
    """A Differentiable Neural Computer with one write head (Graves et al. 2016; https://github.com/google-deepmind/dnc)."""

    num_reads: int = option(1, "number of read heads", low=1)
    clip: float | None = option(
        20.0, "largest size of the outputs of the controller and of the network", above=0
    )
    write_gate_bias: float = option(
        0.0, "initial bias of the write gate; above zero, the write head writes more"
    )
    allocation_gate_bias: float = option(
        0.0,
        "initial bias of the allocation gate; above zero, the write head takes free slots rather than look for content",
    )
    free_gate_bias: float = option(
        0.0, "initial bias of the free gates; below zero, read heads free less of what they read"
    )
    forward_bias: float = option(
        0.0,
        "initial preference of the read heads for the slot that was written next",
    )

    def _build_hidden(self, l_input: Layer) -> Layer:
        l_controller = self._make_controller(l_input, self.num_reads)
        heads: list[MemoryHead] = [
            DNCWriteHead(
                l_controller,
                self.memory_shape,
                b_hid_to_write_gate=Constant(self.write_gate_bias),
                b_hid_to_allocation_gate=Constant(self.allocation_gate_bias),
                name="write",
            )
        ]
        heads += [
            DNCReadHead(
                l_controller,
                self.memory_shape,
                b_hid_to_free_gate=Constant(self.free_gate_bias),
                b_hid_to_modes=_prefer_forward_links(self.forward_bias),
                name=name,
            )
            for name in _number_names("read", self.num_reads)
        ]
        return DNCLayer(
            l_input,
            memory=self._make_memory(),
            controller=l_controller,
            heads=heads,
            clip=self.clip,
            name="dnc",
        )


def _prefer_forward_links(bias: float) -> Array:
    """Return biases of the read modes: backward, content and forward."""
    return floatX(np.array([0.0, 0.0, bias]))


@dataclass(frozen=True, kw_only=True)
class SparseNetwork(MemoryNetwork):
    """Base class of the networks with a sparse memory: the options that SAM and Sparse DNC share."""

    num_reads: int = option(1, "number of read heads", low=1)
    num_read_slots: int = option(
        4,
        "slots that a read head finds by content at each step; a Sparse DNC reads as many again forward, and backward",
        low=1,
    )
    nearest: str = option(
        "auto",
        "search for the slots most similar to a key: exact compares all slots, lsh uses locality-sensitive hashing, "
        "auto takes lsh for large memories",
        choices=("exact", "lsh", "auto"),
    )
    write_gate_bias: float = option(
        0.0, "initial bias of the write gate; above zero, the write head writes more"
    )
    interpolation_gate_bias: float = option(
        0.0,
        "initial bias of the write head's interpolation gate; below zero, it writes to the least recently used slot "
        "rather than to the slots it read last",
    )

    def _build_sparse(
        self,
        l_input: Layer,
        kind: Callable[..., Layer],
        read_head: Callable[..., MemoryHead],
        name: str,
        **options: Any,
    ) -> Layer:
        """Build the layers, given the class of the memory layer and of its read heads."""
        l_controller = self._make_controller(l_input, self.num_reads)
        heads: Sequence[MemoryHead] = [
            SAMWriteHead(
                l_controller,
                self.memory_shape,
                b_hid_to_write_gate=Constant(self.write_gate_bias),
                b_hid_to_interpolation_gate=Constant(self.interpolation_gate_bias),
                name="write",
            ),
            *(
                read_head(l_controller, self.memory_shape, name=name)
                for name in _number_names("read", self.num_reads)
            ),
        ]
        return kind(
            l_input,
            memory=self._make_memory(),
            controller=l_controller,
            heads=heads,
            num_read_slots=self.num_read_slots,
            nearest=self.nearest,
            name=name,
            **options,
        )


@document_options
@dataclass(frozen=True, kw_only=True)
class SAM(SparseNetwork):
    """A Sparse Access Memory (Rae et al. 2016)."""

    def _build_hidden(self, l_input: Layer) -> Layer:
        return self._build_sparse(l_input, SAMLayer, SAMReadHead, "sam")


@document_options
@dataclass(frozen=True, kw_only=True)
class SDNC(SparseNetwork):
    """A Sparse Differentiable Neural Computer (Rae et al. 2016, appendix D)."""

    num_links: int = option(
        8, "temporal links of each slot to the slots written before it, and after it", low=1
    )
    forward_bias: float = option(
        0.0,
        "initial preference of the read heads for the slot that was written next",
    )

    def _build_hidden(self, l_input: Layer) -> Layer:
        read_head = partial(SDNCReadHead, b_hid_to_modes=_prefer_forward_links(self.forward_bias))
        return self._build_sparse(l_input, SDNCLayer, read_head, "sdnc", num_links=self.num_links)


# ---- Networks without a memory


@dataclass(frozen=True, kw_only=True)
class Stack(Network):
    """Base class of the networks without a memory: layers on top of each other."""

    num_units: int = option(256, "units of each layer", low=1)
    num_layers: int = option(3, "number of layers", low=1)

    def _stack(self, layer: Layer, kind: Callable[..., Layer], name: str, **options: Any) -> Layer:
        for k in range(self.num_layers):
            layer = kind(layer, self.num_units, name=f"{name}{k + 1}", **options)
        return layer


@document_options
@dataclass(frozen=True, kw_only=True)
class LSTM(Stack):
    """A stack of LSTM layers, the papers' comparison (Graves et al. 2014, section 4.6 and table 3)."""

    def _build_hidden(self, l_input: Layer) -> Layer:
        return self._stack(l_input, LSTMLayer, "lstm", learn_init=True)


@document_options
@dataclass(frozen=True, kw_only=True)
class GRU(Stack):
    """A stack of layers of gated recurrent units."""

    def _build_hidden(self, l_input: Layer) -> Layer:
        return self._stack(l_input, GRULayer, "gru", learn_init=True)


@document_options
@dataclass(frozen=True, kw_only=True)
class Dense(Stack):
    """A stack of dense layers, which see one time step and remember nothing."""

    def _build_hidden(self, l_input: Layer) -> Layer:
        return self._stack(l_input, DenseLayer, "dense", num_leading_axes=2)


#: The networks by their names on the command line
MODELS: dict[str, type[Network]] = {
    "ntm": NTM,
    "dnc": DNC,
    "sam": SAM,
    "sdnc": SDNC,
    "lstm": LSTM,
    "gru": GRU,
    "dense": Dense,
}


def get_model_options(model: str) -> dict[str, Option]:
    """Return the options of a network, by name."""
    return get_options(MODELS[model])
