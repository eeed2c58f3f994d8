"""The heads of an NTM: dense layers from the controller to the parameters of a read or a write.

A :class:`Head` holds the layers; a :class:`HeadCollection` runs several heads together.
Notation: B batch, N slots, M slot width, K heads (W of them write, R read), H controller units.
"""

from collections.abc import Sequence
from typing import Any

import pytensor.tensor as pt

from lasagne.init import Constant, GlorotUniform
from lasagne.layers import DenseLayer
from lasagne.nonlinearities import rectify, softmax
from lasagne.utils import unique
from ntm import addressing
from ntm.arguments import check_flag, describe, is_integer
from ntm.heads.base import FusedDense, FusedWeights, MemoryHead, list_layers
from ntm.init import OneHot, count_rows, fit_rows
from ntm.nonlinearities import ClippedLinear, hard_sigmoid, one_plus_rectify
from ntm.typing import Incoming, MemoryShape, Nonlinearity, ParameterSpec, Tensor, TensorLike


class Head(MemoryHead):
    """The base class of the heads of an NTM: how a head addresses the memory.

    From the controller's output h of shape (B, H), one dense layer each gives the key (B, M), the key
    strength beta (B, 1), the interpolation gate (B, 1), the shift (B, `num_shifts`) and the sharpening
    gamma (B, 1). Layers and parameters are named ``<name>.key.W`` and so on.

    Parameters
    ----------
    controller : Controller
    num_shifts : int
        Number of shift weights, centred on no shift: 3 stand for the shifts -1, 0 and 1; 2 for 0 and 1.
    memory_shape : tuple (N, M)
    W_hid_to_key, ..., W_hid_to_gamma, b_hid_to_key, ..., b_hid_to_gamma
        Weights (H, units) and biases (units,) of the layers: initializer, array, shared variable, expression or
        callable; a bias may be ``None``.
    nonlinearity_key, ..., nonlinearity_gamma : callable
    weights_init : initializer, array, ... (1, N)
        The weights before the first step: not negative, at most one in sum. A shared variable or an expression may have
        a row for each sequence of the batch, (B, N).
    learn_init : bool
        Whether `weights_init` is trained.
    W_hid_to_sign : initializer, array, ... (H, M), optional
        If given, the key is multiplied by a sign of its own layer, ``<name>.sign``.
    b_hid_to_sign, nonlinearity_sign
        Bias and nonlinearity, into [-1, 1], of that layer.
    shift_mode : {'zero-padded', 'circular'}
        Whether weight that the shift moves past an end of the memory is lost, or comes in at the other end.
    name : str, optional

    Raises
    ------
    ValueError
        If `memory_shape` or `num_shifts` is not positive, there are more shifts than slots, `shift_mode` is unknown, or
        an initial value has another shape.
    TypeError
        If a nonlinearity is neither a function nor None, or `learn_init` is neither true nor false.

    References
    ----------
    Graves et al. 2014, Neural Turing Machines, section 3.
    """

    def __init__(
        self,
        controller: Incoming,
        num_shifts: int = 3,
        memory_shape: MemoryShape = (128, 20),
        W_hid_to_key: ParameterSpec = GlorotUniform(),
        b_hid_to_key: ParameterSpec | None = Constant(0.0),
        nonlinearity_key: Nonlinearity | None = ClippedLinear(0.0, 1.0),
        W_hid_to_beta: ParameterSpec = GlorotUniform(),
        b_hid_to_beta: ParameterSpec | None = Constant(0.0),
        nonlinearity_beta: Nonlinearity | None = rectify,
        W_hid_to_gate: ParameterSpec = GlorotUniform(),
        b_hid_to_gate: ParameterSpec | None = Constant(0.0),
        nonlinearity_gate: Nonlinearity | None = hard_sigmoid,
        W_hid_to_shift: ParameterSpec = GlorotUniform(),
        b_hid_to_shift: ParameterSpec | None = Constant(0.0),
        nonlinearity_shift: Nonlinearity | None = softmax,
        W_hid_to_gamma: ParameterSpec = GlorotUniform(),
        b_hid_to_gamma: ParameterSpec | None = Constant(0.0),
        nonlinearity_gamma: Nonlinearity | None = one_plus_rectify,
        weights_init: ParameterSpec = OneHot(),
        learn_init: bool = False,
        W_hid_to_sign: ParameterSpec | None = None,
        b_hid_to_sign: ParameterSpec | None = Constant(0.0),
        nonlinearity_sign: Nonlinearity | None = ClippedLinear(-1.0, 1.0),
        shift_mode: str = "zero-padded",
        **kwargs: Any,
    ) -> None:
        super().__init__(controller, memory_shape, **kwargs)
        label = describe(type(self).__name__, self.name)
        num_slots, width = self.memory_shape
        if not is_integer(num_shifts) or num_shifts < 1:
            raise ValueError(f"{label}: num_shifts must be a positive integer, not {num_shifts!r}")
        if num_shifts > num_slots:
            raise ValueError(
                f"{label}: {num_shifts} shifts do not fit a memory of {num_slots} slots; "
                f"num_shifts must be at most {num_slots}"
            )
        if shift_mode not in addressing.SHIFT_MODES:
            raise ValueError(
                f"{label}: shift_mode must be one of {addressing.SHIFT_MODES}, not {shift_mode!r}"
            )
        check_flag(label, "learn_init", learn_init)
        self.num_shifts = int(num_shifts)
        self.shift_mode = shift_mode
        self.weights_init = self.add_param(
            weights_init,
            (count_rows(weights_init), num_slots),
            name="weights_init",
            trainable=learn_init,
            regularizable=False,
        )
        self.key = self._dense("key", width, W_hid_to_key, b_hid_to_key, nonlinearity_key)
        self.beta = self._dense("beta", 1, W_hid_to_beta, b_hid_to_beta, nonlinearity_beta)
        self.gate = self._dense("gate", 1, W_hid_to_gate, b_hid_to_gate, nonlinearity_gate)
        self.shift = self._dense(
            "shift", self.num_shifts, W_hid_to_shift, b_hid_to_shift, nonlinearity_shift
        )
        self.gamma = self._dense("gamma", 1, W_hid_to_gamma, b_hid_to_gamma, nonlinearity_gamma)
        self.sign = None
        if W_hid_to_sign is not None:
            self.sign = self._dense("sign", width, W_hid_to_sign, b_hid_to_sign, nonlinearity_sign)

    def get_parameters(self, h: Tensor) -> dict[str, Tensor]:
        """Return the parameters as every head does; key and add vector times their signs, if the head has such."""
        found = super().get_parameters(h)
        for name, sign in (("key", "sign"), ("add", "sign add")):
            if sign in found:
                found[name] = found[name] * found.pop(sign)
        return found


class ReadHead(Head):
    """A head that reads the average of the slots by its weights. It takes the parameters of :class:`Head`."""


class WriteHead(Head):
    """A head that erases from the memory and adds to it.

    Two more layers give the erase vector (B, M) and the add vector (B, M).

    Parameters
    ----------
    controller, num_shifts, memory_shape, ..., nonlinearity_gamma, weights_init, learn_init, shift_mode, name
        As in :class:`Head`.
    W_hid_to_erase, W_hid_to_add, b_hid_to_erase, b_hid_to_add
        Weights (H, M) and biases (M,).
    nonlinearity_erase : callable
        Into [0, 1].
    nonlinearity_add : callable
    W_hid_to_sign, b_hid_to_sign, nonlinearity_sign
        As in :class:`Head`, for the key.
    W_hid_to_sign_add, b_hid_to_sign_add, nonlinearity_sign_add
        The same for the add vector: off unless weights are given.
    """

    def __init__(
        self,
        controller: Incoming,
        num_shifts: int = 3,
        memory_shape: MemoryShape = (128, 20),
        W_hid_to_key: ParameterSpec = GlorotUniform(),
        b_hid_to_key: ParameterSpec | None = Constant(0.0),
        nonlinearity_key: Nonlinearity | None = ClippedLinear(0.0, 1.0),
        W_hid_to_beta: ParameterSpec = GlorotUniform(),
        b_hid_to_beta: ParameterSpec | None = Constant(0.0),
        nonlinearity_beta: Nonlinearity | None = rectify,
        W_hid_to_gate: ParameterSpec = GlorotUniform(),
        b_hid_to_gate: ParameterSpec | None = Constant(0.0),
        nonlinearity_gate: Nonlinearity | None = hard_sigmoid,
        W_hid_to_shift: ParameterSpec = GlorotUniform(),
        b_hid_to_shift: ParameterSpec | None = Constant(0.0),
        nonlinearity_shift: Nonlinearity | None = softmax,
        W_hid_to_gamma: ParameterSpec = GlorotUniform(),
        b_hid_to_gamma: ParameterSpec | None = Constant(0.0),
        nonlinearity_gamma: Nonlinearity | None = one_plus_rectify,
        W_hid_to_erase: ParameterSpec = GlorotUniform(),
        b_hid_to_erase: ParameterSpec | None = Constant(0.0),
        nonlinearity_erase: Nonlinearity | None = hard_sigmoid,
        W_hid_to_add: ParameterSpec = GlorotUniform(),
        b_hid_to_add: ParameterSpec | None = Constant(0.0),
        nonlinearity_add: Nonlinearity | None = ClippedLinear(0.0, 1.0),
        weights_init: ParameterSpec = OneHot(),
        learn_init: bool = False,
        W_hid_to_sign: ParameterSpec | None = None,
        b_hid_to_sign: ParameterSpec | None = Constant(0.0),
        nonlinearity_sign: Nonlinearity | None = ClippedLinear(-1.0, 1.0),
        W_hid_to_sign_add: ParameterSpec | None = None,
        b_hid_to_sign_add: ParameterSpec | None = Constant(0.0),
        nonlinearity_sign_add: Nonlinearity | None = ClippedLinear(-1.0, 1.0),
        shift_mode: str = "zero-padded",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            controller,
            num_shifts=num_shifts,
            memory_shape=memory_shape,
            W_hid_to_key=W_hid_to_key,
            b_hid_to_key=b_hid_to_key,
            nonlinearity_key=nonlinearity_key,
            W_hid_to_beta=W_hid_to_beta,
            b_hid_to_beta=b_hid_to_beta,
            nonlinearity_beta=nonlinearity_beta,
            W_hid_to_gate=W_hid_to_gate,
            b_hid_to_gate=b_hid_to_gate,
            nonlinearity_gate=nonlinearity_gate,
            W_hid_to_shift=W_hid_to_shift,
            b_hid_to_shift=b_hid_to_shift,
            nonlinearity_shift=nonlinearity_shift,
            W_hid_to_gamma=W_hid_to_gamma,
            b_hid_to_gamma=b_hid_to_gamma,
            nonlinearity_gamma=nonlinearity_gamma,
            weights_init=weights_init,
            learn_init=learn_init,
            W_hid_to_sign=W_hid_to_sign,
            b_hid_to_sign=b_hid_to_sign,
            nonlinearity_sign=nonlinearity_sign,
            shift_mode=shift_mode,
            **kwargs,
        )
        width = self.memory_shape[1]
        self.erase = self._dense("erase", width, W_hid_to_erase, b_hid_to_erase, nonlinearity_erase)
        self.add = self._dense("add", width, W_hid_to_add, b_hid_to_add, nonlinearity_add)
        self.sign_add = None
        if W_hid_to_sign_add is not None:
            self.sign_add = self._dense(
                "sign_add", width, W_hid_to_sign_add, b_hid_to_sign_add, nonlinearity_sign_add
            )


class HeadCollection:
    """Heads that are computed together: one product gives the parameters of all heads.

    Parameters
    ----------
    heads : list of Head
        All of one memory shape and one controller.
    """

    def __init__(self, heads: Sequence[Head]) -> None:
        self.heads = list(heads)
        self.address_layers = FusedDense(
            self._layers("key", "beta", "gate", "shift", "gamma", "sign")
        )

    def get_params(self, unwrap_shared: bool = True, **tags: bool) -> list[Any]:
        """Return the parameters of all heads, in the order of the heads."""
        params = []
        for head in self.heads:
            params += head.get_params(unwrap_shared=unwrap_shared, **tags)
        return unique(params)

    def get_initial_weights(self, batch_size: TensorLike) -> Tensor:
        """Return the weights before the first step, (B, K, N)."""
        num_slots = self.heads[0].memory_shape[0]
        weights = [
            fit_rows(
                head.weights_init,
                batch_size,
                num_slots,
                f"{describe(type(head).__name__, head.name)}: weights_init",
            )
            for head in self.heads
        ]
        return pt.stack(weights, axis=1)

    def get_weights(
        self, h_t: Tensor, w_tm1: Tensor, M_t: Tensor, fused: FusedWeights | None = None
    ) -> Tensor:
        """Address the memory: content, interpolation, shift and sharpening, for all heads at once.

        Parameters
        ----------
        h_t : tensor (B, H)
            The controller's output.
        w_tm1 : tensor (B, K, N)
            The weights of the step before.
        M_t : tensor (B, M, N)
            The memory, its slots last.
        fused : pair of tensors, optional
            From ``address_layers.fuse()``, where it was computed outside of a loop.

        Returns
        -------
        tensor (B, K, N)
        """
        activations = self.address_layers.get_activations(h_t, fused)
        key = self._signed(self.address_layers, activations, "key", "sign")
        beta, gate, gamma = (
            self.address_layers.get_outputs(activations, self._layers(part))[:, :, 0]
            for part in ("beta", "gate", "gamma")
        )
        content = addressing.content_weights(key, beta, M_t)
        mixed = addressing.interpolate(content, w_tm1, gate)
        return addressing.sharpen(self._shift(mixed, activations), gamma)

    def _layers(self, *parts: str) -> list[DenseLayer]:
        return list_layers(self.heads, *parts)

    def _signed(
        self, fused: FusedDense, activations: Sequence[Tensor], part: str, sign: str
    ) -> Tensor:
        """Return the heads' vectors `part`, (B, K, M), each times the `sign` of its head if it has one."""
        vectors = fused.get_outputs(activations, self._layers(part))
        signs = [getattr(head, sign) for head in self.heads]
        if all(layer is None for layer in signs):
            return vectors
        return pt.stack(
            [
                vectors[:, k]
                if layer is None
                else vectors[:, k] * fused.get_output(activations, layer)
                for k, layer in enumerate(signs)
            ],
            axis=1,
        )

    def _shift(self, weights: Tensor, activations: Sequence[Tensor]) -> Tensor:
        """Shift the weights of each head; heads with the same number of shifts and mode are shifted at once."""
        kinds = [(head.num_shifts, head.shift_mode) for head in self.heads]
        if len(set(kinds)) == 1:
            shift = self.address_layers.get_outputs(activations, self._layers("shift"))
            return addressing.convolutional_shift(weights, shift, kinds[0][1])
        shifted = [
            addressing.convolutional_shift(
                weights[:, k : k + 1],
                self.address_layers.get_output(activations, head.shift)[:, None],
                head.shift_mode,
            )
            for k, head in enumerate(self.heads)
        ]
        return pt.concatenate(shifted, axis=1)


class ReadHeadCollection(HeadCollection):
    """Read heads that are computed together."""

    def read(self, w_tm1: Tensor, M_t: Tensor) -> Tensor:
        """Return the read vectors side by side, (B, R * M), from weights (B, R, N) and memory (B, M, N)."""
        vectors = addressing.read(M_t, w_tm1)
        return vectors.reshape((-1, len(self.heads) * self.heads[0].memory_shape[1]))


class WriteHeadCollection(HeadCollection):
    """Write heads that are computed together."""

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__(heads)
        self.write_layers = FusedDense(self._layers("erase", "add", "sign_add"))

    def write(
        self, h_tm1: Tensor, w_tm1: Tensor, M_tm1: Tensor, fused: FusedWeights | None = None
    ) -> Tensor:
        """Return the memory (B, M, N) after all heads have erased and added.

        Parameters
        ----------
        h_tm1 : tensor (B, H)
        w_tm1 : tensor (B, W, N)
        M_tm1 : tensor (B, M, N)
        fused : pair of tensors, optional
            From ``write_layers.fuse()``, where it was computed outside of a loop.
        """
        activations = self.write_layers.get_activations(h_tm1, fused)
        erase = self.write_layers.get_outputs(activations, self._layers("erase"))
        add = self._signed(self.write_layers, activations, "add", "sign_add")
        return addressing.write(M_tm1, w_tm1, erase, add)
