"""What is measured: networks, and the shapes of the batches that they see."""

from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import product

TASK_SIZE = 8  # bits in a vector of the copy task
NUM_FEATURES = TASK_SIZE + 1  # and a channel for the marker
NUM_UNITS = 100
NUM_SHIFTS = 3
LEARNING_RATE = 1e-4
CLIP = 1.0  # of the gradient, element by element

SHAPES = [(1, 12), (1, 42), (1, 202), (1, 802), (16, 42), (64, 42), (16, 202)]
QUICK_SHAPES = [shape for shape in SHAPES if shape != (1, 802)]
CONTROLLERS = ["dense", "lstm"]
MEMORIES = [(128, 20), (1024, 64)]
HEADS = [1, 4]


@dataclass(frozen=True)
class Network:
    """A Neural Turing Machine for the copy task.

    Attributes
    ----------
    controller : {'dense', 'lstm'}
    num_slots, width : int
        N and M, the memory's shape.
    num_heads : int
        How many heads write, and how many read.
    """

    controller: str = "dense"
    num_slots: int = 128
    width: int = 20
    num_heads: int = 1

    @property
    def name(self):
        """For example ``dense-128x20-1``."""
        return f"{self.controller}-{self.num_slots}x{self.width}-{self.num_heads}"


@dataclass(frozen=True)
class Case:
    """A network and the shape of its batches.

    Attributes
    ----------
    network : Network
    batch : int
        B, sequences in a batch.
    steps : int
        T, time steps of each; even.
    """

    network: Network
    batch: int
    steps: int

    @property
    def name(self):
        """For example ``dense-128x20-1/16x42``."""
        return f"{self.network.name}/{self.batch}x{self.steps}"

    def data(self, seed=0):
        """A batch of the copy task: inputs (B, T, 9), targets (B, T, 9) and mask (B, T), float32."""
        # Here and not above: the rivals' start is measured without our package
        from ntm.tasks import CopyTask

        task = CopyTask(size=TASK_SIZE, batch_size=self.batch, seed=seed)
        return task.sample(length=(self.steps - 2) // 2)

    def matches(self, pattern):
        """Whether a pattern, in which ``*`` stands for anything, is the name of the case or of its network."""
        return fnmatch(self.name, pattern) or fnmatch(self.network.name, pattern)


DEFAULT = Network()
QUICK_CASES = [Case(DEFAULT, *shape) for shape in QUICK_SHAPES]


def all_cases():
    """Every network with every shape."""
    return [
        Case(Network(controller, *memory, heads), *shape)
        for controller, memory, heads, shape in product(CONTROLLERS, MEMORIES, HEADS, SHAPES)
    ]
