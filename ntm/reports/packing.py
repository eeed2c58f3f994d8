"""Arrays in a page: numbers of one or two bytes, as base64. `page.js` unpacks them."""

import base64
from typing import Any

import numpy as np

from ntm.typing import ArrayLike

#: For each type of packed numbers, NumPy's name and the largest number; the number below its negative stands for NaN
TYPES = {"i1": ("<i1", 127), "i2": ("<i2", 32767)}


def pack(values: ArrayLike, kind: str = "i2") -> dict[str, Any]:
    """Return an array as JSON takes it, rounded to 254 or 65,534 equal steps between its largest sizes.

    Parameters
    ----------
    values : array
        What is not finite becomes NaN.
    kind : {'i1', 'i2'}
        One byte or two for each number.

    Returns
    -------
    dict
        ``data``: base64 of little-endian numbers; ``type``; ``shape``; ``scale``: what a number is multiplied by.
    """
    values = np.asarray(values, float)
    dtype, largest = TYPES[kind]
    finite = np.isfinite(values)
    scale = float(np.abs(values[finite]).max(initial=0.0)) / largest or 1.0
    numbers = np.where(finite, np.round(np.where(finite, values, 0.0) / scale), -largest - 1)
    return {
        "data": base64.b64encode(numbers.astype(dtype).tobytes()).decode("ascii"),
        "type": kind,
        "shape": list(values.shape),
        "scale": scale,
    }
