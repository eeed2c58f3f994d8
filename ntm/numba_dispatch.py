"""Conversions from PyTensor to Numba. Importing this module registers them."""

from hashlib import sha256

from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_and_cache_key

from lasagne.checks import SizeCheck


@register_funcify_and_cache_key(SizeCheck)
def _funcify_size_check(op, node, **kwargs):
    """Tell the size in the message, which PyTensor's conversion of the base class cannot."""
    error, message = op.exc_type, op.msg

    @numba_njit
    def check_size(x, condition, size):
        if not condition:
            raise error(message + ": " + str(~size))
        return x

    @numba_njit
    def check_sizes(x, condition, size, other):
        if not condition:
            raise error(message + ": " + str(~size) + " instead of " + str(~other))
        return x

    @numba_njit
    def check(x, condition):
        if not condition:
            raise error(message)
        return x

    function = {2: check, 3: check_size, 4: check_sizes}[len(node.inputs)]
    return function, sha256(str((function.__name__, error, message)).encode()).hexdigest()
