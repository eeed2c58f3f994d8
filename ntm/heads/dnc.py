"""The heads of a DNC: dense layers from the controller to the interface of the memory.

Notation: B batch, N slots, M slot width, W write heads, R read heads, H controller units.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lasagne.init import Constant, GlorotUniform
from lasagne.nonlinearities import linear, sigmoid, softmax
from ntm.arguments import describe, is_integer
from ntm.heads.base import FusedDense, FusedWeights, MemoryHead, list_layers
from ntm.nonlinearities import one_plus_softplus
from ntm.typing import Incoming, MemoryShape, Nonlinearity, ParameterSpec, Tensor


class DNCReadHead(MemoryHead):
    """A head that reads by content, or follows the temporal links from the slots it read last.

    From the controller's output h of shape (B, H), one dense layer each gives the key (B, M), the key strength beta
    (B, 1), the free gate (B, 1) and the read modes (B, 1 + 2 W). Layers and parameters are named ``<name>.key.W`` and
    so on.

    Parameters
    ----------
    controller : Controller
    memory_shape : tuple (N, M)
    num_writes : int
        W, the number of write heads. The read modes are backward along the links of each write head, content, and
        forward along the links of each: with one write head backward, content, forward.
    W_hid_to_key, ..., W_hid_to_modes, b_hid_to_key, ..., b_hid_to_modes
        Weights (H, units) and biases (units,) of the layers: initializer, array, shared variable, expression or
        callable; a bias may be ``None``.
    nonlinearity_key : callable
    nonlinearity_beta : callable
        To numbers that are not negative.
    nonlinearity_free_gate : callable
        Into [0, 1].
    nonlinearity_modes : callable
        To numbers that are not negative, and one in sum.
    name : str, optional

    Raises
    ------
    ValueError
        If `memory_shape` or `num_writes` is not positive.

    References
    ----------
    Graves et al. 2016, Hybrid computing using a neural network with dynamic external memory, Methods.
    """

    def __init__(
        self,
        controller: Incoming,
        memory_shape: MemoryShape,
        num_writes: int = 1,
        W_hid_to_key: ParameterSpec = GlorotUniform(),
        b_hid_to_key: ParameterSpec | None = Constant(0.0),
        nonlinearity_key: Nonlinearity | None = linear,
        W_hid_to_beta: ParameterSpec = GlorotUniform(),
        b_hid_to_beta: ParameterSpec | None = Constant(0.0),
        nonlinearity_beta: Nonlinearity | None = one_plus_softplus,
        W_hid_to_free_gate: ParameterSpec = GlorotUniform(),
        b_hid_to_free_gate: ParameterSpec | None = Constant(0.0),
        nonlinearity_free_gate: Nonlinearity | None = sigmoid,
        W_hid_to_modes: ParameterSpec = GlorotUniform(),
        b_hid_to_modes: ParameterSpec | None = Constant(0.0),
        nonlinearity_modes: Nonlinearity | None = softmax,
        **kwargs: Any,
    ) -> None:
        super().__init__(controller, memory_shape, **kwargs)
        if not is_integer(num_writes) or num_writes < 1:
            raise ValueError(
                f"{describe(type(self).__name__, self.name)}: num_writes must be a positive integer, "
                f"not {num_writes!r}"
            )
        self.num_writes = int(num_writes)
        width = self.memory_shape[1]
        self.key = self._dense("key", width, W_hid_to_key, b_hid_to_key, nonlinearity_key)
        self.beta = self._dense("beta", 1, W_hid_to_beta, b_hid_to_beta, nonlinearity_beta)
        self.free_gate = self._dense(
            "free_gate", 1, W_hid_to_free_gate, b_hid_to_free_gate, nonlinearity_free_gate
        )
        self.modes = self._dense(
            "modes", 1 + 2 * self.num_writes, W_hid_to_modes, b_hid_to_modes, nonlinearity_modes
        )


class DNCWriteHead(MemoryHead):
    """A head that writes to slots similar to its key, or to free slots.

    From the controller's output h of shape (B, H), one dense layer each gives the key (B, M), the key strength beta
    (B, 1), the erase vector (B, M), the add vector (B, M), the allocation gate (B, 1) and the write gate (B, 1).

    Parameters
    ----------
    controller : Controller
    memory_shape : tuple (N, M)
    W_hid_to_key, ..., W_hid_to_write_gate, b_hid_to_key, ..., b_hid_to_write_gate
        Weights (H, units) and biases (units,) of the layers: initializer, array, shared variable, expression or
        callable; a bias may be ``None``.
    nonlinearity_key, nonlinearity_add : callable
    nonlinearity_beta : callable
        To numbers that are not negative.
    nonlinearity_erase, nonlinearity_allocation_gate, nonlinearity_write_gate : callable
        Into [0, 1].
    name : str, optional

    Raises
    ------
    ValueError
        If `memory_shape` is not two positive integers.

    References
    ----------
    Graves et al. 2016, Hybrid computing using a neural network with dynamic external memory, Methods.
    """

    def __init__(
        self,
        controller: Incoming,
        memory_shape: MemoryShape,
        W_hid_to_key: ParameterSpec = GlorotUniform(),
        b_hid_to_key: ParameterSpec | None = Constant(0.0),
        nonlinearity_key: Nonlinearity | None = linear,
        W_hid_to_beta: ParameterSpec = GlorotUniform(),
        b_hid_to_beta: ParameterSpec | None = Constant(0.0),
        nonlinearity_beta: Nonlinearity | None = one_plus_softplus,
        W_hid_to_erase: ParameterSpec = GlorotUniform(),
        b_hid_to_erase: ParameterSpec | None = Constant(0.0),
        nonlinearity_erase: Nonlinearity | None = sigmoid,
        W_hid_to_add: ParameterSpec = GlorotUniform(),
        b_hid_to_add: ParameterSpec | None = Constant(0.0),
        nonlinearity_add: Nonlinearity | None = linear,
        W_hid_to_allocation_gate: ParameterSpec = GlorotUniform(),
        b_hid_to_allocation_gate: ParameterSpec | None = Constant(0.0),
        nonlinearity_allocation_gate: Nonlinearity | None = sigmoid,
        W_hid_to_write_gate: ParameterSpec = GlorotUniform(),
        b_hid_to_write_gate: ParameterSpec | None = Constant(0.0),
        nonlinearity_write_gate: Nonlinearity | None = sigmoid,
        **kwargs: Any,
    ) -> None:
        super().__init__(controller, memory_shape, **kwargs)
        width = self.memory_shape[1]
        self.key = self._dense("key", width, W_hid_to_key, b_hid_to_key, nonlinearity_key)
        self.beta = self._dense("beta", 1, W_hid_to_beta, b_hid_to_beta, nonlinearity_beta)
        self.erase = self._dense("erase", width, W_hid_to_erase, b_hid_to_erase, nonlinearity_erase)
        self.add = self._dense("add", width, W_hid_to_add, b_hid_to_add, nonlinearity_add)
        self.allocation_gate = self._dense(
            "allocation_gate",
            1,
            W_hid_to_allocation_gate,
            b_hid_to_allocation_gate,
            nonlinearity_allocation_gate,
        )
        self.write_gate = self._dense(
            "write_gate", 1, W_hid_to_write_gate, b_hid_to_write_gate, nonlinearity_write_gate
        )


class DNCInterface(NamedTuple):
    """The interface of the memory at a step: what the controller tells the memory through the heads.

    Attributes
    ----------
    write_key, erase, add : tensor (B, W, M)
    write_beta, allocation_gate, write_gate : tensor (B, W)
    read_key : tensor (B, R, M)
    read_beta, free_gate : tensor (B, R)
    modes : tensor (B, R, 1 + 2 W)
    """

    write_key: Tensor
    write_beta: Tensor
    erase: Tensor
    add: Tensor
    allocation_gate: Tensor
    write_gate: Tensor
    read_key: Tensor
    read_beta: Tensor
    free_gate: Tensor
    modes: Tensor


class DNCHeadCollection:
    """The heads of a DNC, computed together: one product gives the parameters of all heads.

    Parameters
    ----------
    write_heads : list of DNCWriteHead
    read_heads : list of DNCReadHead
        All of one memory shape and one controller.
    """

    def __init__(
        self, write_heads: Sequence[DNCWriteHead], read_heads: Sequence[DNCReadHead]
    ) -> None:
        self.write_heads, self.read_heads = list(write_heads), list(read_heads)
        # Layers with the same nonlinearity are neighbours, so that they are activated at once
        self.layers = FusedDense(
            [
                *list_layers([*self.write_heads, *self.read_heads], "key"),
                *list_layers(self.write_heads, "add", "erase"),
                *list_layers([*self.write_heads, *self.read_heads], "beta"),
                *list_layers(self.write_heads, "allocation_gate", "write_gate"),
                *list_layers(self.read_heads, "free_gate", "modes"),
            ]
        )

    def get_interface(self, h_t: Tensor, fused: FusedWeights | None = None) -> DNCInterface:
        """Compute the interface of the memory from the output of the controller.

        Parameters
        ----------
        h_t : tensor (B, H)
        fused : pair of tensors, optional
            From ``layers.fuse()``, where it was computed outside of a loop.

        Returns
        -------
        DNCInterface
        """
        activations = self.layers.get_activations(h_t, fused)

        def get(heads: Sequence[DNCReadHead | DNCWriteHead], part: str) -> Tensor:
            outputs = self.layers.get_outputs(activations, list_layers(heads, part))
            is_scalar = part == "beta" or part.endswith("_gate")
            return outputs[:, :, 0] if is_scalar else outputs

        writes = {part: get(self.write_heads, part) for part in ("erase", "add")}
        writes |= {part: get(self.write_heads, part) for part in ("allocation_gate", "write_gate")}
        reads = {part: get(self.read_heads, part) for part in ("free_gate", "modes")}
        return DNCInterface(
            write_key=get(self.write_heads, "key"),
            write_beta=get(self.write_heads, "beta"),
            read_key=get(self.read_heads, "key"),
            read_beta=get(self.read_heads, "beta"),
            **writes,
            **reads,
        )
