"""How heads find their place in memory: functions of tensors, without state.

This package exports the functions of an NTM. Its modules hold the functions of the other memory networks: `allocation`
and `temporal_links` of a DNC, `sparse` of a SAM, `sparse_links` of an SDNC. The index of slots is in `nearest`.
"""

from ntm.addressing.access import read, write
from ntm.addressing.content import content_weights
from ntm.addressing.location import (
    SHIFT_MODES,
    convolutional_shift,
    interpolate,
    sharpen,
    shift_offsets,
)

__all__ = [
    "SHIFT_MODES",
    "content_weights",
    "convolutional_shift",
    "interpolate",
    "read",
    "sharpen",
    "shift_offsets",
    "write",
]
