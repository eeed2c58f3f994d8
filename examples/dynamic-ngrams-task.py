"""Train a Neural Turing Machine to predict bits whose statistics it has to find out on the way.

python examples/dynamic-ngrams-task.py
python examples/dynamic-ngrams-task.py --model lstm --seed 3 --output lstm.png

How such a script does it, from top to bottom, is to be read in copy-task.py.
"""

import sys

from ntm.cli import run_example

sys.exit(run_example("dynamic-ngrams", __doc__))
