"""The functions that the modes of :func:`ntm.get_mode` compile to."""

import copyreg
from functools import partial

from pytensor.compile.executor import Function, _pickle_Function
from pytensor.compile.maker import FunctionMaker
from pytensor.compile.mode import Mode

from lasagne.shared_values import call_as_it_is, read_by_jax


class JAXFunction(Function):
    """A compiled function that JAX runs. It takes and leaves JAX arrays in shared variables."""

    __slots__ = ("__weakref__",)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        read_by_jax(self)

    __call__ = call_as_it_is


copyreg.pickle(JAXFunction, _pickle_Function)


class JAXMode(Mode):
    """A mode whose functions are :class:`JAXFunction`."""

    @property
    def function_maker(self):
        return partial(FunctionMaker, function_class=JAXFunction)
