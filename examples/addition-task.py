"""Train a Neural Turing Machine to add up numbers.

python examples/addition-task.py
python examples/addition-task.py --model lstm --seed 3 --output lstm.png

How such a script does it, from top to bottom, is to be read in copy-task.py.
"""

import sys

from ntm.cli import run_example

sys.exit(run_example("addition", __doc__))
