"""The heads of sparse memories: dense layers from the controller to the interface of the memory.

Notation: B batch, N slots, M slot width, R read heads, H controller units.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lasagne.init import Constant, GlorotUniform
from lasagne.nonlinearities import linear, sigmoid, softmax
from ntm.heads.base import FusedDense, FusedWeights, MemoryHead, list_layers
from ntm.nonlinearities import one_plus_softplus
from ntm.typing import Incoming, MemoryShape, Nonlinearity, ParameterSpec, Tensor


class ContentReadHead(MemoryHead):
    """The base class of the read heads of sparse memories: a key and a key strength.

    Parameters
    ----------
    controller, memory_shape, W_hid_to_key, b_hid_to_key, nonlinearity_key, W_hid_to_beta, b_hid_to_beta, \
nonlinearity_beta, name
        As those of :class:`SAMReadHead`.

    Raises
    ------
    ValueError
        If `memory_shape` is not two positive integers.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(controller, memory_shape, **kwargs)
        width = self.memory_shape[1]
        self.key = self._dense("key", width, W_hid_to_key, b_hid_to_key, nonlinearity_key)
        self.beta = self._dense("beta", 1, W_hid_to_beta, b_hid_to_beta, nonlinearity_beta)


class SAMReadHead(ContentReadHead):
    """A head that reads the slots most similar to its key.

    From the controller's output h of shape (B, H), one dense layer each gives the key (B, M) and the key strength beta
    (B, 1). Layers and parameters are named ``<name>.key.W`` and so on.

    Parameters
    ----------
    controller : Controller
    memory_shape : tuple (N, M)
    W_hid_to_key, W_hid_to_beta, b_hid_to_key, b_hid_to_beta
        Weights (H, units) and biases (units,) of the layers: initializer, array, shared variable, expression or
        callable; a bias may be ``None``.
    nonlinearity_key : callable
    nonlinearity_beta : callable
        To numbers that are not negative.
    name : str, optional

    Raises
    ------
    ValueError
        If `memory_shape` is not two positive integers.

    References
    ----------
    Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes, section 3.1.
    """


class SDNCReadHead(ContentReadHead):
    """A head that reads the slots most similar to its key, or follows the links from the slots it read last.

    From the controller's output h of shape (B, H), one dense layer each gives the key (B, M), the key strength beta
    (B, 1) and the read modes (B, 3): backward, content, forward. Layers and parameters are named ``<name>.key.W`` and
    so on.

    Parameters
    ----------
    controller : Controller
    memory_shape : tuple (N, M)
    W_hid_to_key, W_hid_to_beta, W_hid_to_modes, b_hid_to_key, b_hid_to_beta, b_hid_to_modes
        Weights (H, units) and biases (units,) of the layers: initializer, array, shared variable, expression or
        callable; a bias may be ``None``.
    nonlinearity_key : callable
    nonlinearity_beta : callable
        To numbers that are not negative.
    nonlinearity_modes : callable
        To numbers that are not negative, and one in sum.
    name : str, optional

    Raises
    ------
    ValueError
        If `memory_shape` is not two positive integers.

    References
    ----------
    Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes, appendix D.
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
        W_hid_to_modes: ParameterSpec = GlorotUniform(),
        b_hid_to_modes: ParameterSpec | None = Constant(0.0),
        nonlinearity_modes: Nonlinearity | None = softmax,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            controller,
            memory_shape,
            W_hid_to_key,
            b_hid_to_key,
            nonlinearity_key,
            W_hid_to_beta,
            b_hid_to_beta,
            nonlinearity_beta,
            **kwargs,
        )
        self.modes = self._dense("modes", 3, W_hid_to_modes, b_hid_to_modes, nonlinearity_modes)


class SAMWriteHead(MemoryHead):
    """A head that writes to the slots read last, or to the least recently used slot.

    From the controller's output h of shape (B, H), one dense layer each gives the add vector (B, M), the write gate
    (B, 1) and the interpolation gate (B, 1). At one, only the slots read last are written to; at zero, only the least
    recently used slot.

    Parameters
    ----------
    controller : Controller
    memory_shape : tuple (N, M)
    W_hid_to_add, W_hid_to_write_gate, W_hid_to_interpolation_gate, b_hid_to_add, ..., b_hid_to_interpolation_gate
        Weights (H, units) and biases (units,) of the layers: initializer, array, shared variable, expression or
        callable; a bias may be ``None``.
    nonlinearity_add : callable
    nonlinearity_write_gate, nonlinearity_interpolation_gate : callable
        Into [0, 1].
    name : str, optional

    Raises
    ------
    ValueError
        If `memory_shape` is not two positive integers.

    References
    ----------
    Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes, section 3.2.
    """

    def __init__(
        self,
        controller: Incoming,
        memory_shape: MemoryShape,
        W_hid_to_add: ParameterSpec = GlorotUniform(),
        b_hid_to_add: ParameterSpec | None = Constant(0.0),
        nonlinearity_add: Nonlinearity | None = linear,
        W_hid_to_write_gate: ParameterSpec = GlorotUniform(),
        b_hid_to_write_gate: ParameterSpec | None = Constant(0.0),
        nonlinearity_write_gate: Nonlinearity | None = sigmoid,
        W_hid_to_interpolation_gate: ParameterSpec = GlorotUniform(),
        b_hid_to_interpolation_gate: ParameterSpec | None = Constant(0.0),
        nonlinearity_interpolation_gate: Nonlinearity | None = sigmoid,
        **kwargs: Any,
    ) -> None:
        super().__init__(controller, memory_shape, **kwargs)
        width = self.memory_shape[1]
        self.add = self._dense("add", width, W_hid_to_add, b_hid_to_add, nonlinearity_add)
        self.write_gate = self._dense(
            "write_gate", 1, W_hid_to_write_gate, b_hid_to_write_gate, nonlinearity_write_gate
        )
        self.interpolation_gate = self._dense(
            "interpolation_gate",
            1,
            W_hid_to_interpolation_gate,
            b_hid_to_interpolation_gate,
            nonlinearity_interpolation_gate,
        )


class SparseInterface(NamedTuple):
    """The interface of the memory at a step: what the controller tells the memory through the heads.

    Attributes
    ----------
    key : tensor (B, R, M)
    beta : tensor (B, R)
    add : tensor (B, M)
    write_gate, interpolation_gate : tensor (B,)
    modes : tensor (B, R, 3), optional
        ``None`` where the read heads have no modes.
    """

    key: Tensor
    beta: Tensor
    add: Tensor
    write_gate: Tensor
    interpolation_gate: Tensor
    modes: Tensor | None = None


class SparseHeadCollection:
    """The heads of a sparse memory, computed together: one product gives the parameters of all heads.

    Parameters
    ----------
    write_head : SAMWriteHead
    read_heads : list of SAMReadHead or SDNCReadHead
        All of one memory shape and one controller.
    """

    def __init__(self, write_head: SAMWriteHead, read_heads: Sequence[ContentReadHead]) -> None:
        self.write_head, self.read_heads = write_head, list(read_heads)
        self._have_modes = isinstance(self.read_heads[0], SDNCReadHead)
        self.layers = FusedDense(
            [
                *list_layers(self.read_heads, "key"),
                *list_layers([write_head], "add"),
                *list_layers(self.read_heads, "beta"),
                *list_layers([write_head], "write_gate", "interpolation_gate"),
                *(list_layers(self.read_heads, "modes") if self._have_modes else []),
            ]
        )

    def get_interface(self, h_t: Tensor, fused: FusedWeights | None = None) -> SparseInterface:
        """Compute the interface of the memory from the output of the controller.

        Parameters
        ----------
        h_t : tensor (B, H)
        fused : pair of tensors, optional
            From ``layers.fuse()``, where it was computed outside of a loop.

        Returns
        -------
        SparseInterface
        """
        activations = self.layers.get_activations(h_t, fused)
        write = self.write_head

        def get(part: str) -> Tensor:
            return self.layers.get_outputs(activations, list_layers(self.read_heads, part))

        return SparseInterface(
            key=get("key"),
            beta=get("beta")[:, :, 0],
            add=self.layers.get_output(activations, write.add),
            write_gate=self.layers.get_output(activations, write.write_gate)[:, 0],
            interpolation_gate=self.layers.get_output(activations, write.interpolation_gate)[:, 0],
            modes=get("modes") if self._have_modes else None,
        )
