"""The graph traversal task: read the edges of a graph and the labels of a path, then name the nodes on it."""

import numpy as np

from ntm.tasks.base import Seed
from ntm.tasks.graph import BLANK, GraphTask, Question


class GraphTraversalTask(GraphTask):
    """Random graphs, and paths on them: given its first node and the labels of its edges, which nodes does a path pass?

    A graph with edges x from a to b, x from b to a, y from b to c and y from c to a, in random order, and the path from
    b by y and y::

        step          1    2    3    4    5    6    7    8    9
        source        b    a    c    b    b    .    .    .    .     channels 0 ... 29
        edge          y    x    y    x    y    y    .    .    .     channels 30 ... 59
        destination   c    b    a    a    .    .    .    .    .     channels 60 ... 89
        new phase     .    .    .    .    1    .    1    .    .     channel 90
        answer        .    .    .    .    .    .    1    1    1     channel 91
        target        .    .    .    .    .    .   byc  cya  end
        mask          .    .    .    .    .    .    1    1    1

    A label is a number from 0 to 999: three digits, each a one in one of ten channels; no ones where a label is left
    open. The targets, of 90 channels, are triples like those in the inputs, and the outputs nine distributions over the
    ten digits. Sequences of the same sizes differ in how many edges there are, and end in steps that are empty.

    Graphs are drawn as in the paper: nodes are points drawn uniformly from the unit square. From each node there are
    edges to its nearest neighbours; their number is drawn from `min_degree` to `max_degree` (all other nodes if there
    are fewer). Labels of nodes are different. There are as many labels of edges as nodes. Edges from the same node have
    different labels, edges from different nodes may have the same, so both node and label have to be looked up. A path
    is a random walk from a random node. The encoding of triples, the phases, the query and the loss are the paper's,
    too. Our own choices: the channel "new phase" is on at the first step of a phase; an answer ends with the triple 000
    000 000, which is no edge; and there is one question about each graph.

    Parameters
    ----------
    min_nodes, max_nodes : int
        Nodes of the graph, two at least: the range of the size "nodes".
    min_degree, max_degree : int
        Range of the number of edges from a node.
    min_length, max_length : int
        Edges of the path: the range of the size "length".
    batch_size, seed :
        See :class:`Task`.

    Raises
    ------
    ValueError
        If a number is no positive integer, the lower end of a range is above the upper one, `min_nodes` is one or
        `max_nodes` is above 1000.

    References
    ----------
    Graves et al. 2016, Hybrid computing using a neural network with dynamic external memory, Methods ("Graph task
    descriptions", "Random graph generation", "Traversal") and extended data table 3.
    """

    def __init__(
        self,
        min_nodes: int = 3,
        max_nodes: int = 10,
        min_degree: int = 2,
        max_degree: int = 4,
        min_length: int = 1,
        max_length: int = 4,
        batch_size: int = 1,
        seed: Seed = None,
    ) -> None:
        super().__init__(
            (min_nodes, max_nodes),
            (min_degree, max_degree),
            (min_length, max_length),
            batch_size,
            seed,
        )

    def count_question_steps(self, length: int) -> int:
        return length

    def ask(self, rng: np.random.Generator, graph: np.ndarray, length: int) -> Question | None:
        path = np.empty((length, 3), graph.dtype)
        node = rng.integers(graph[-1, 0] + 1)
        for step in range(length):
            path[step] = rng.choice(graph[graph[:, 0] == node])
            node = path[step, 2]
        query = np.where([[False, True, False]], path, BLANK)
        query[0, 0] = path[0, 0]
        return [query], path
