"""How heads address a memory: functions of tensors, without state.

The package exports the functions of an NTM. The functions of the other memory networks are in modules: `allocation` and
`temporal_links` for a DNC, `sparse` for a SAM, `sparse_links` for an SDNC. `nearest` holds the index of the slots.
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
