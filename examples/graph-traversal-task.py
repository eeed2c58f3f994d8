"""Train a network with a memory to follow paths on random graphs.

python examples/graph-traversal-task.py --model dnc
python examples/graph-traversal-task.py --model lstm --seed 3 --output lstm.png

How such a script does it, from top to bottom, is to be read in copy-task.py.
"""

import sys

from ntm.cli import run_example

sys.exit(run_example("graph-traversal", __doc__))
