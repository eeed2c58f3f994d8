"""Train a network with a memory to find shortest paths on random graphs.

python examples/shortest-path-task.py --model dnc
python examples/shortest-path-task.py --model lstm --seed 3 --output lstm.png

How such a script does it, from top to bottom, is to be read in copy-task.py.
"""

import sys

from ntm.cli import run_example

sys.exit(run_example("shortest-path", __doc__))
