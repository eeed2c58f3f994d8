"""The code in a guide runs as it stands there."""

import re
from pathlib import Path

import numpy as np

GUIDE = Path(__file__).parents[2] / "docs" / "coming-from-ntm-lasagne.md"


def test_coming_from_ntm_lasagne(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    names = {}
    for block in blocks:
        exec(block, names)
    bits = np.random.default_rng(0).integers(0, 2, (1, 5, 9)).astype("float64")
    losses = [float(names["train"](bits, bits)) for _ in range(5)]
    assert losses[-1] < losses[0]
    assert capsys.readouterr().out == "(1, 5, 9)\n"
