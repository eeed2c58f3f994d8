"""The base classes of all layers: one input (:class:`Layer`) or several (:class:`MergeLayer`)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pytensor.graph.basic import Variable

from .. import utils
from ..typing import Incoming, ParameterSpec, Shape, Tensor
from ._arguments import LayerType, Origin, get_arguments

__all__ = ["Layer", "MergeLayer"]


class MissingOutputShapeError(NotImplementedError, AttributeError):
    """A layer of several inputs does not say what shape its output has.

    It is an `AttributeError` as well, because ``layer.output_shape`` does not exist then.
    """


class Layer(metaclass=LayerType):
    """Base class of a layer with a single input.

    A subclass overrides :meth:`get_output_for` and, where the shape changes,
    :meth:`get_output_shape_for`; it registers its parameters with :meth:`add_param`.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input. In a shape, a dimension is a
        positive integer, or ``None`` where it is not known beforehand.
    name : str, optional
        A name, which becomes a prefix of the names of the parameters.

    Attributes
    ----------
    input_shape : tuple
        Shape of the input.
    input_layer : Layer or None
        The incoming layer, ``None`` if a shape was given.
    params : dict
        The set of tags of each parameter.
    get_output_kwargs : list of str
        Keyword arguments that :meth:`get_output_for` takes but does not have in its signature.
    own_kwargs : tuple of str
        Of a class: keyword arguments that :func:`get_output` passes to a layer only if the output
        of the layer is asked for, not if the layer is merely below.
    result_kwargs : tuple of str
        Of a class: further such arguments, with which :meth:`get_output_for` returns something
        other than what the layers above take. These get the output without the arguments.

    Raises
    ------
    TypeError
        If `incoming` is neither a layer nor a tuple.
    ValueError
        If a dimension of the input shape is neither ``None`` nor a positive integer.
    """

    own_kwargs: tuple[str, ...] = ()
    result_kwargs: tuple[str, ...] = ()
    _origin: Origin

    def __init__(self, incoming: Incoming, name: str | None = None):
        self.name = name
        self.params: dict[Variable, set[str]] = {}
        self.get_output_kwargs: list[str] = []
        self.input_shape = incoming_shape(self, incoming)
        self.input_layer = None if isinstance(incoming, tuple) else incoming
        check_dimensions(self, self.input_shape)

    def __repr__(self) -> str:
        name = getattr(self, "name", None)
        return f"<{type(self).__name__}{'' if name is None else f' {name!r}'}>"

    @property
    def output_shape(self) -> Shape:
        """Shape of the output, by :meth:`get_output_shape_for`; ``None`` where not known."""
        return without_symbols(self, self.get_output_shape_for(self.input_shape))

    def get_params(self, unwrap_shared: bool = True, **tags: bool) -> list:
        """Return the parameters of this layer.

        Parameters
        ----------
        unwrap_shared : bool
            Whether a parameter that is an expression is replaced by the shared variables in it.
        **tags : bool
            Only parameters that have all of the tags given as ``True`` and none of those given as
            ``False`` are returned.

        Returns
        -------
        list of PyTensor shared variables or expressions
            In the order in which they were added.
        """
        wanted = {tag for tag, value in tags.items() if value}
        unwanted = tags.keys() - wanted
        params = [
            param
            for param, own_tags in self.params.items()
            if wanted <= own_tags and not unwanted & own_tags
        ]
        return utils.collect_shared_vars(params) if unwrap_shared else params

    def get_arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments that make an equal layer, but for parameter values.

        They are those that this layer was made from, defaults included, with what was changed
        since: an attribute that keeps an argument as it was given, such as ``nonlinearity``, has
        its present value; a parameter set to ``None``, as :func:`batch_norm` does with ``b``, is
        ``None``. Attributes that begin with an underscore do not count.

        Returns
        -------
        dict
            The arguments by name; those that have none, for a constructor with ``*args``, in a list
            under the key ``"*"``.

        Raises
        ------
        ValueError
            If another attribute or the layer's parameters were changed, which no argument tells.
        """
        return get_arguments(self)

    def get_parts(self) -> list[tuple[str, "Layer"]]:
        """Return the layers inside of this layer, such as the controller of a memory layer.

        Returns
        -------
        list of pairs of str and Layer
            What each layer is in this layer, such as ``"controller"``, and the layer. The list is
            empty unless a subclass overrides this method.
        """
        return []

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        """Compute the shape of the output from the shape of the input.

        Parameters
        ----------
        input_shape : tuple
            Shape of the input: a tuple of int, and ``None`` or an expression for dimensions that
            are not known.

        Returns
        -------
        tuple
            Shape of the output: a tuple of int, and ``None`` for dimensions that are not known.
            It is `input_shape` unless a subclass overrides this method.
        """
        return known_shape(input_shape)

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        """Build the expression of the output from the expression of the input.

        Parameters
        ----------
        input : PyTensor expression
            The input.
        **kwargs
            Whatever :func:`get_output` was called with, such as ``deterministic``.

        Returns
        -------
        PyTensor expression
            The output.

        Raises
        ------
        NotImplementedError
            Unless a subclass overrides this method.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement get_output_for()")

    def add_param(
        self, spec: ParameterSpec, shape: Iterable[int], name: str | None = None, **tags: bool
    ) -> Any:
        """Register a parameter of this layer.

        Parameters
        ----------
        spec : PyTensor shared variable or expression, numpy array, number or callable
            The parameter or its initial value; see :func:`lasagne.utils.create_param`.
        shape : tuple of int
            The shape of the parameter.
        name : str, optional
            Its name, which gets the name of the layer as a prefix: ``"layer.W"``.
        **tags : bool
            Tags for :meth:`get_params`. ``trainable`` and ``regularizable`` are ``True`` unless
            given as ``False``.

        Returns
        -------
        PyTensor shared variable or expression
            The parameter.
        """
        if name is not None and self.name is not None:
            name = f"{self.name}.{name}"
        shape = tuple(shape)
        if not all(isinstance(size, int | np.integer) for size in shape):
            raise ValueError(
                f"{self!r}: the shape of parameter {name} must be of integers, got {shape}"
            )
        param = utils.create_param(spec, shape, name)
        tags = {"trainable": True, "regularizable": True, **tags}
        self.params[param] = {tag for tag, value in tags.items() if value}
        return param


class MergeLayer(Layer):
    """Base class of a layer with several inputs.

    A subclass overrides :meth:`get_output_for` and :meth:`get_output_shape_for`.

    Parameters
    ----------
    incomings : list of Layer and tuple
        The layers feeding into this one, or the shapes of the inputs.
    name : str, optional
        A name, which becomes a prefix of the names of the parameters.

    Attributes
    ----------
    input_shapes : list of tuple
        Shapes of the inputs.
    input_layers : list of Layer or None
        The incoming layers, ``None`` where a shape was given.

    Raises
    ------
    TypeError
        If an item of `incomings` is neither a layer nor a tuple.
    ValueError
        If a dimension of an input shape is neither ``None`` nor a positive integer.
    """

    def __init__(self, incomings: Iterable[Incoming], name: str | None = None):
        self.name = name
        self.params = {}
        self.get_output_kwargs = []
        incomings = list(incomings)
        self.input_shapes = [incoming_shape(self, incoming) for incoming in incomings]
        self.input_layers = [None if isinstance(each, tuple) else each for each in incomings]
        for shape in self.input_shapes:
            check_dimensions(self, shape)

    @property
    def output_shape(self) -> Shape:
        """Shape of the output, by :meth:`get_output_shape_for`; ``None`` where not known."""
        return without_symbols(self, self.get_output_shape_for(self.input_shapes))

    def get_output_shape_for(self, input_shapes: Sequence[Shape]) -> Shape:
        """Compute the shape of the output from the shapes of the inputs.

        Parameters
        ----------
        input_shapes : list of tuple
            Shapes of the inputs, in the order of `incomings`.

        Returns
        -------
        tuple
            Shape of the output.

        Raises
        ------
        NotImplementedError
            Unless a subclass overrides this method.
        """
        raise MissingOutputShapeError(
            f"{type(self).__name__} does not implement get_output_shape_for()"
        )

    def get_output_for(self, inputs: Sequence[Tensor], **kwargs: Any) -> Tensor:
        """Build the expression of the output from the expressions of the inputs.

        Parameters
        ----------
        inputs : list of PyTensor expressions
            The inputs, in the order of `incomings`.
        **kwargs
            Whatever :func:`get_output` was called with, such as ``deterministic``.

        Returns
        -------
        PyTensor expression
            The output.

        Raises
        ------
        NotImplementedError
            Unless a subclass overrides this method.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement get_output_for()")


def incoming_shape(layer: Layer, incoming: Incoming) -> Shape:
    """Return the shape that `incoming`, a shape or a layer, feeds into `layer`."""
    if isinstance(incoming, tuple):
        return incoming
    if isinstance(incoming, Layer) or hasattr(incoming, "output_shape"):
        return incoming.output_shape
    raise TypeError(f"{layer!r} needs a Layer or a shape tuple to feed into it, got {incoming!r}")


def check_dimensions(layer: Layer, shape: Iterable[object]) -> None:
    """Raise a `ValueError` unless the dimensions are positive integers or ``None``."""
    if not isinstance(shape, tuple | list):
        return  # a stand-in for a layer need not know its shape
    where = f"input_shape={shape!r}, name={layer.name!r}"
    if not all(dim is None or isinstance(dim, int | np.integer) for dim in shape):
        raise ValueError(
            f"Cannot create {type(layer).__name__} with an input_shape dimension that is neither "
            f"an integer nor None. {where}"
        )
    if any(dim is not None and dim <= 0 for dim in shape):
        raise ValueError(
            f"Cannot create {type(layer).__name__} with a non-positive input_shape dimension. "
            f"{where}"
        )


def check_integer(layer: Layer, **values: object) -> None:
    """Raise a `ValueError` that names the layer unless values are integers."""
    for name, value in values.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            hint = f" (write {int(value)})" if isinstance(value, float) and value % 1 == 0 else ""
            raise ValueError(f"{layer!r} needs an integer {name}, got {value!r}{hint}")


def check_flag(layer: Layer, **values: object) -> None:
    """Raise a `TypeError` that names the layer unless values are true or false."""
    for name, value in values.items():
        if not isinstance(value, bool | np.bool):
            raise TypeError(f"{layer!r} needs True or False for {name}, got {value!r}")


def check_positive(layer: Layer, **counts: Any) -> None:
    """Raise a `ValueError` that names the layer unless counts are positive integers."""
    check_integer(layer, **counts)
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{layer!r} needs a positive {name}, got {count}")


def known_shape(shape: Any) -> Any:
    """Return a shape with ``None`` in place of sizes that are symbolic."""
    if isinstance(shape, tuple | list) and any(isinstance(size, Variable) for size in shape):
        return tuple(None if isinstance(size, Variable) else size for size in shape)
    return shape


def without_symbols(layer: Layer, shape: Any) -> Shape:
    """Return the shape, or raise a `ValueError` if there is anything symbolic in it."""
    if isinstance(shape, Variable) or any(isinstance(dim, Variable) for dim in shape):
        raise ValueError(
            f"{layer!r} returned a symbolic output shape from its get_output_shape_for() method: "
            f"{shape!r}. Shapes must be tuples of integers, and None for variable dimensions."
        )
    return shape
