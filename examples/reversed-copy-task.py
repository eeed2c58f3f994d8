"""Train a Neural Turing Machine to read a sequence of bits and give it back from its end to its start.

python examples/reversed-copy-task.py
python examples/reversed-copy-task.py --model lstm --seed 3 --output lstm.png

How such a script does it, from top to bottom, is to be read in copy-task.py.
"""

import sys

from ntm.cli import run_example

sys.exit(run_example("reversed-copy", __doc__))
