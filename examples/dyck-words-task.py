"""Train a Neural Turing Machine to tell where brackets are balanced.

python examples/dyck-words-task.py
python examples/dyck-words-task.py --model lstm --seed 3 --output lstm.png

How such a script does it, from top to bottom, is to be read in copy-task.py.
"""

import sys

from ntm.cli import run_example

sys.exit(run_example("dyck-words", __doc__))
