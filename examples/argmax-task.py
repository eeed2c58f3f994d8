"""Train a Neural Turing Machine to find where the largest of some numbers was.

python examples/argmax-task.py
python examples/argmax-task.py --model lstm --seed 3 --output lstm.png

How such a script does it, from top to bottom, is to be read in copy-task.py.
"""

import sys

from ntm.cli import run_example

sys.exit(run_example("argmax", __doc__))
