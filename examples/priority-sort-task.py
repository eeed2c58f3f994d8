"""Train a Neural Turing Machine to give back vectors in the order of their priorities.

python examples/priority-sort-task.py
python examples/priority-sort-task.py --model lstm --seed 3 --output lstm.png

How such a script does it, from top to bottom, is to be read in copy-task.py.
"""

import sys

from ntm.cli import run_example

sys.exit(run_example("priority-sort", __doc__))
