"""The heads of a DNC: dense layers from the controller to the interface of the memory.

Notation: B batch, N slots, M slot width, W write heads, R read heads, H controller units.
"""

from typing import Any, NamedTuple

from lasagne.init import Constant, GlorotUniform
from lasagne.nonlinearities import linear, sigmoid, softmax
from ntm.arguments import describe, is_integer
from ntm.heads.base import FusedDense, MemoryHead, list_layers
from ntm.nonlinearities import one_plus_softplus


class DNCReadHead(MemoryHead):
    """A head that reads, by content or along the order in which slots were written to.

    From the controller's output h of shape (B, H), one dense layer each gives the key (B, M), the key strength beta
    (B, 1), the free gate (B, 1) and the read modes (B, 1 + 2 W). Layers and parameters are named ``<name>.key.W`` and
    so on.

    Parameters
    ----------
    controller : Controller
    memory_shape : tuple (N, M)
    num_writes : int
        W, the number of write heads. The read modes are backward in the order of each write head's slots, content,
        forward in the order of each: with one write head backward, content, forward.
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
        If `memory_shape` or `num_writes` is no positive number.

    References
    ----------
    Graves et al. 2016, Hybrid computing using a neural network with dynamic external memory, Methods.
    """

    def __init__(
        self,
        controller,
        memory_shape,
        num_writes=1,
        W_hid_to_key=GlorotUniform(),
        b_hid_to_key=Constant(0.0),
        nonlinearity_key=linear,
        W_hid_to_beta=GlorotUniform(),
        b_hid_to_beta=Constant(0.0),
        nonlinearity_beta=one_plus_softplus,
        W_hid_to_free_gate=GlorotUniform(),
        b_hid_to_free_gate=Constant(0.0),
        nonlinearity_free_gate=sigmoid,
        W_hid_to_modes=GlorotUniform(),
        b_hid_to_modes=Constant(0.0),
        nonlinearity_modes=softmax,
        **kwargs,
    ):
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
    """A head that writes, to slots like its key or to free ones.

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
        controller,
        memory_shape,
        W_hid_to_key=GlorotUniform(),
        b_hid_to_key=Constant(0.0),
        nonlinearity_key=linear,
        W_hid_to_beta=GlorotUniform(),
        b_hid_to_beta=Constant(0.0),
        nonlinearity_beta=one_plus_softplus,
        W_hid_to_erase=GlorotUniform(),
        b_hid_to_erase=Constant(0.0),
        nonlinearity_erase=sigmoid,
        W_hid_to_add=GlorotUniform(),
        b_hid_to_add=Constant(0.0),
        nonlinearity_add=linear,
        W_hid_to_allocation_gate=GlorotUniform(),
        b_hid_to_allocation_gate=Constant(0.0),
        nonlinearity_allocation_gate=sigmoid,
        W_hid_to_write_gate=GlorotUniform(),
        b_hid_to_write_gate=Constant(0.0),
        nonlinearity_write_gate=sigmoid,
        **kwargs,
    ):
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
    """What the controller tells the memory at a step.

    Attributes
    ----------
    write_key, erase, add : (B, W, M)
    write_beta, allocation_gate, write_gate : (B, W)
    read_key : (B, R, M)
    read_beta, free_gate : (B, R)
    modes : (B, R, 1 + 2 W)
    """

    write_key: Any
    write_beta: Any
    erase: Any
    add: Any
    allocation_gate: Any
    write_gate: Any
    read_key: Any
    read_beta: Any
    free_gate: Any
    modes: Any


class DNCHeadCollection:
    """The heads of a DNC, run together: one product gives the parameters of all.

    Parameters
    ----------
    write_heads : list of DNCWriteHead
    read_heads : list of DNCReadHead
        Of one memory shape and one controller.
    """

    def __init__(self, write_heads, read_heads):
        self.write_heads, self.read_heads = list(write_heads), list(read_heads)
        # Layers that are mostly alike stand side by side, to be activated together
        self.layers = FusedDense(
            [
                *list_layers([*self.write_heads, *self.read_heads], "key"),
                *list_layers(self.write_heads, "add", "erase"),
                *list_layers([*self.write_heads, *self.read_heads], "beta"),
                *list_layers(self.write_heads, "allocation_gate", "write_gate"),
                *list_layers(self.read_heads, "free_gate", "modes"),
            ]
        )

    def get_interface(self, h_t, fused=None):
        """What all heads' layers give.

        Parameters
        ----------
        h_t : tensor (B, H)
        fused : pair of tensors, optional
            What ``layers.fuse()`` gave, where it was computed outside of a loop.

        Returns
        -------
        DNCInterface
        """
        activations = self.layers.get_activations(h_t, fused)

        def get(heads, part):
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
