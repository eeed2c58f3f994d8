"""Train a Neural Turing Machine to find an item in a list, and give back the one that follows it.

python examples/associative-recall-task.py
python examples/associative-recall-task.py --model lstm --seed 3 --output lstm.png

How such a script does it, from top to bottom, is to be read in copy-task.py.
"""

import sys

from ntm.cli import run_example

sys.exit(run_example("associative-recall", __doc__))
