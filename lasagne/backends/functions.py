"""The functions that the modes of :func:`ntm.get_mode` compile to.

A compiled function of PyTensor keeps its arguments in one place while it runs: a second thread that calls the same
function gives the first one other arguments, and with C the process may abort. So each of these functions runs in one
thread at a time, and all functions of C together do.

A process that is forked after JAX has started has none of JAX's threads: whatever waits for JAX waits for ever. There,
functions of JAX raise an error instead.
"""

import copyreg
import os
import sys
import threading
import weakref
from functools import partial
from typing import Any, NoReturn

from pytensor.compile.executor import Function, _pickle_Function
from pytensor.compile.maker import FunctionMaker
from pytensor.compile.mode import Mode

from lasagne.backends.shared_values import call_as_it_is, read_by_jax

__all__ = ["CFunction", "CMode", "JAXFunction", "JAXMode", "LockedFunction", "LockedMode"]

_c_lock = threading.RLock()
_functions: "weakref.WeakSet[LockedFunction]" = weakref.WeakSet()


class LockedFunction(Function):
    """A compiled function that runs in one thread at a time."""

    __slots__ = ("__weakref__", "lock")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lock = threading.RLock()
        _functions.add(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return super().__call__(*args, **kwargs)


class CFunction(LockedFunction):
    """A compiled function of the C back end, which may run while no other one runs."""

    __slots__ = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lock = _c_lock


class JAXFunction(LockedFunction):
    """A compiled function that JAX runs. It takes and leaves JAX arrays in shared variables."""

    __slots__ = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        read_by_jax(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return call_as_it_is(self, *args, **kwargs)


class LockedMode(Mode):
    """A mode whose functions run in one thread at a time."""

    function_class: type[Function] = LockedFunction

    @property
    def function_maker(self) -> Any:
        return partial(FunctionMaker, function_class=self.function_class)


class CMode(LockedMode):
    """A mode for the C back end."""

    function_class = CFunction


class JAXMode(LockedMode):
    """A mode for JAX."""

    function_class = JAXFunction


for each in (LockedFunction, CFunction, JAXFunction):
    copyreg.pickle(each, _pickle_Function)


# ---- after a fork

_jax_has_started = False


def _look_at_jax() -> None:
    """Note whether JAX has started its threads."""
    global _jax_has_started
    bridge = sys.modules.get("jax._src.xla_bridge")
    _jax_has_started = bridge is not None and bridge.backends_are_initialized()


def _change_child() -> None:
    """Replace the locks, which other threads may have held, and refuse what would wait for ever."""
    global _c_lock
    _c_lock = threading.RLock()
    for function in list(_functions):
        function.lock = _c_lock if isinstance(function, CFunction) else threading.RLock()
    if _jax_has_started:
        # Instead of a look at each call, which would cost time
        JAXFunction.__call__ = _refuse  # type: ignore[method-assign]
        JAXMode.function_maker = property(_refuse)  # type: ignore[assignment, method-assign]


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise RuntimeError(
        "this process was forked from one in which JAX had started, and JAX cannot run here. Start processes that use "
        "JAX afresh, with multiprocessing.get_context('spawn'), or fork before anything is compiled for JAX; functions "
        "compiled with get_mode('numba') or get_mode('c') run here too"
    )


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(before=_look_at_jax, after_in_child=_change_child)
