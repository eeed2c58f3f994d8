"""Values of shared variables, for programs that use JAX beside other back ends.

A function that JAX runs leaves its updates in the shared variables as JAX arrays, on the device. Nothing is
converted then: the next JAX function takes the arrays as they are, on a GPU too. But the functions of Numba, C and
Python cannot take JAX arrays, and users expect NumPy arrays of ``get_value``. So whoever needs NumPy arrays
converts, at the moment of need.

Importing this module changes classes of PyTensor, for shared variables and functions made before and after:

- ``Function.__call__`` copies every JAX array among a function's shared variables to a NumPy array first, and leaves
  the NumPy array in the shared variable. The next JAX function sends the value to the device again. Functions that
  JAX runs are left out: PyTensor's by their linker, and those of :func:`ntm.get_mode` by a class of their own
  (:mod:`lasagne.backends.functions`), so that their calls cost what they cost without this module.
- ``SharedVariable.get_value`` gives a NumPy array that may be written to; the value stays on the device. With
  ``borrow=True`` the NumPy array is a view of JAX's own memory where JAX's memory is the host's, else a copy; either
  cannot be written to, since JAX's arrays never change.
- ``Container.value``, from which PyTensor's other methods read (``zero``, ``Function.copy``), is a NumPy array; so are
  values that ``set_value`` is given, and what copies and pickles hold.

Numba and C update in place. A value that they get from JAX is a copy, so they never write into an array of JAX.
JAX in turn may read a NumPy array for as long as its computation runs, which is after the call has returned. A
function that updates a shared variable which JAX functions read gets a copy of the value for that reason
(:func:`read_by_jax`).
"""

import functools
import sys
import weakref
from collections import Counter
from typing import Any

import numpy as np
from pytensor.compile.executor import Function
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.link.basic import Container
from pytensor.link.jax.linker import JAXLinker

__all__ = [
    "call_as_it_is",
    "is_jax_array",
    "read_by_jax",
]

#: ``Function.__call__`` as PyTensor has it, for functions that JAX runs.
call_as_it_is = Function.__call__

_get_value = SharedVariable.get_value
_copy_container, _set_in_container = Container.__deepcopy__, Container.__set__

# By the identity of its storage: how many JAX functions read a shared variable
_jax_readers: Counter[int] = Counter()


def is_jax_array(value: object) -> bool:
    """Return whether a value is an array of JAX. JAX need not be installed."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, getattr(jax, "Array", ()))


def read_by_jax(function: Function) -> None:
    """Note that a function runs on JAX, so that others do not write into arrays which JAX may still be reading.

    Parameters
    ----------
    function : pytensor.compile.executor.Function
        It must allow weak references.
    """
    pairs = zip(function.maker.inputs, function.input_storage, strict=True)
    storages = [id(container.storage) for each, container in pairs if each.shared]
    _jax_readers.update(storages)
    weakref.finalize(function, _forget, storages).atexit = False


def _forget(storages: list[int]) -> None:
    _jax_readers.subtract(storages)
    for storage in storages:
        if not _jax_readers[storage]:
            del _jax_readers[storage]


def _bring_to_host(storage: list[Any]) -> None:
    """Replace the JAX array in the storage of a shared variable by a NumPy array."""
    if is_jax_array(storage[0]):
        storage[0] = np.array(storage[0])


@functools.wraps(Function.__call__)
def _call(self: Any, *args: Any, **kwargs: Any) -> Any:
    if "jax" in sys.modules:
        if _jax_readers:
            _copy_what_is_updated(self)
        for storage in self._input_storage_data:
            value = storage[0]
            if type(value) is np.ndarray or value is None or not is_jax_array(value):
                continue
            if isinstance(self.maker.linker, JAXLinker):
                break
            storage[0] = np.array(value)
    return call_as_it_is(self, *args, **kwargs)


def _copy_what_is_updated(function: Function) -> None:
    """Copy the values that a function may change in place while JAX still reads them."""
    for position in function.maker.fgraph.update_mapping.values():
        storage = function._input_storage_data[position]
        if id(storage) in _jax_readers and type(storage[0]) is np.ndarray:
            storage[0] = storage[0].copy()


@functools.wraps(SharedVariable.get_value)
def _get(self: Any, borrow: bool = False, return_internal_type: bool = False) -> Any:
    value = self.container.storage[0]
    if not is_jax_array(value):
        return _get_value(self, borrow, return_internal_type)
    if return_internal_type:
        return value
    return np.asarray(value) if borrow else np.array(value)


def _get_on_host(self: Any) -> Any:
    _bring_to_host(self.storage)
    return self.storage[0]


def _set(self: Any, value: object) -> None:
    """PyTensor would store a NumPy view of JAX's memory, into which C functions write."""
    _set_in_container(self, np.array(value) if is_jax_array(value) else value)


@functools.wraps(Container.__deepcopy__)
def _deepcopy(self: Any, memo: dict[int, Any]) -> Container:
    _bring_to_host(self.storage)
    return _copy_container(self, memo)


def _get_state(self: Any) -> dict[str, Any]:
    """Return what a pickle of a container holds."""
    _bring_to_host(self.storage)
    return self.__dict__


Function.__call__ = _call  # type: ignore[method-assign]
SharedVariable.get_value = _get  # type: ignore[method-assign]
Container.data = Container.value = property(_get_on_host, _set)  # type: ignore[assignment]
Container.__deepcopy__ = _deepcopy  # type: ignore[method-assign]
Container.__getstate__ = _get_state  # type: ignore[method-assign, assignment]
