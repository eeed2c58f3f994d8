"""The heads of sparse memories: dense layers from the controller to the interface of the memory.

Notation: B batch, N slots, M slot width, R read heads, H controller units.
"""

from typing import Any, NamedTuple

from lasagne.init import Constant, GlorotUniform
from lasagne.nonlinearities import linear, sigmoid, softmax
from ntm.heads.base import FusedDense, MemoryHead, list_layers
from ntm.nonlinearities import one_plus_softplus


class ContentReadHead(MemoryHead):
    """What the read heads of sparse memories share: a key, and how much likeness to it counts.

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
        controller,
        memory_shape,
        W_hid_to_key=GlorotUniform(),
        b_hid_to_key=Constant(0.0),
        nonlinearity_key=linear,
        W_hid_to_beta=GlorotUniform(),
        b_hid_to_beta=Constant(0.0),
        nonlinearity_beta=one_plus_softplus,
        **kwargs,
    ):
        super().__init__(controller, memory_shape, **kwargs)
        width = self.memory_shape[1]
        self.key = self._dense("key", width, W_hid_to_key, b_hid_to_key, nonlinearity_key)
        self.beta = self._dense("beta", 1, W_hid_to_beta, b_hid_to_beta, nonlinearity_beta)


class SAMReadHead(ContentReadHead):
    """A head that reads the slots most like its key.

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
    """A head that reads the slots most like its key, or goes on from what it read last in the order of writing.

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
        controller,
        memory_shape,
        W_hid_to_key=GlorotUniform(),
        b_hid_to_key=Constant(0.0),
        nonlinearity_key=linear,
        W_hid_to_beta=GlorotUniform(),
        b_hid_to_beta=Constant(0.0),
        nonlinearity_beta=one_plus_softplus,
        W_hid_to_modes=GlorotUniform(),
        b_hid_to_modes=Constant(0.0),
        nonlinearity_modes=softmax,
        **kwargs,
    ):
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
    """A head that writes to the slots read last, or to the one that was not accessed for longest.

    From the controller's output h of shape (B, H), one dense layer each gives the add vector (B, M), the write gate
    (B, 1) and the interpolation gate (B, 1): at one, only slots read last are written to; at zero, only the other.

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
        controller,
        memory_shape,
        W_hid_to_add=GlorotUniform(),
        b_hid_to_add=Constant(0.0),
        nonlinearity_add=linear,
        W_hid_to_write_gate=GlorotUniform(),
        b_hid_to_write_gate=Constant(0.0),
        nonlinearity_write_gate=sigmoid,
        W_hid_to_interpolation_gate=GlorotUniform(),
        b_hid_to_interpolation_gate=Constant(0.0),
        nonlinearity_interpolation_gate=sigmoid,
        **kwargs,
    ):
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
    """What the controller tells the memory at a step.

    Attributes
    ----------
    key : (B, R, M)
    beta : (B, R)
    add : (B, M)
    write_gate, interpolation_gate : (B,)
    modes : (B, R, 3)
        ``None`` where read heads have none.
    """

    key: Any
    beta: Any
    add: Any
    write_gate: Any
    interpolation_gate: Any
    modes: Any = None


class SparseHeadCollection:
    """The heads of a sparse memory, run together: one product gives the parameters of all.

    Parameters
    ----------
    write_head : SAMWriteHead
    read_heads : list of SAMReadHead or SDNCReadHead
        Of one memory shape and one controller.
    """

    def __init__(self, write_head, read_heads):
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

    def get_interface(self, h_t, fused=None):
        """What all heads' layers give.

        Parameters
        ----------
        h_t : tensor (B, H)
        fused : pair of tensors, optional
            What ``layers.fuse()`` gave, where it was computed outside of a loop.

        Returns
        -------
        SparseInterface
        """
        activations = self.layers.get_activations(h_t, fused)
        write = self.write_head

        def get(part):
            return self.layers.get_outputs(activations, list_layers(self.read_heads, part))

        return SparseInterface(
            key=get("key"),
            beta=get("beta")[:, :, 0],
            add=self.layers.get_output(activations, write.add),
            write_gate=self.layers.get_output(activations, write.write_gate)[:, 0],
            interpolation_gate=self.layers.get_output(activations, write.interpolation_gate)[:, 0],
            modes=get("modes") if self._have_modes else None,
        )
