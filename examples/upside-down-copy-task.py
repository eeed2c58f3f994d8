"""Train a Neural Turing Machine to give a sequence back with every vector upside down.

python examples/upside-down-copy-task.py
python examples/upside-down-copy-task.py --model lstm --seed 3 --output lstm.png

How such a script does it, from top to bottom, is to be read in copy-task.py.
"""

import sys

from ntm.cli import run_example

sys.exit(run_example("upside-down-copy", __doc__))
