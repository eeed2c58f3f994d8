"""The shortest path task: read the edges of a graph and two nodes, then give the edges from one to the other."""

import numpy as np

from ntm.tasks.base import Seed
from ntm.tasks.graph import BLANK, GraphTask, Question


class ShortestPathTask(GraphTask):
    """Random graphs, and two nodes: what is the shortest path from one to the other?

    A graph with edges x from a to b, y from b to c and x from b to d, in random order, the question how to get from a
    to c, and, for brevity, two steps of planning::

        step          1    2    3    4    5    6    7    8    9
        source        b    a    b    a    .    .    .    a    b     channels 0 ... 29
        edge          y    x    x    .    .    .    .    x    y     channels 30 ... 59
        destination   c    b    d    c    .    .    .    b    c     channels 60 ... 89
        new phase     .    .    .    1    1    .    1    .    .     channel 90
        answer        .    .    .    .    .    .    1    1    1     channel 91
        target        .    .    .    .    .    .   axb  byc  end
        mask          .    .    .    .    .    .    1    1    1

    Graphs, labels and phases are those of :class:`GraphTraversalTask`. As in the paper there is time to plan, and at
    each step of the answer the edge taken at the step before is shown.

    In the paper the edge shown is sometimes the edge that the network chose, and sometimes the choice of an optimal
    planner that goes on from there; any shortest path counts as right. Here there is one right answer: two nodes are
    asked for only if there is exactly one shortest path between them, and the edge shown is always the right one. A
    network that answers a whole sequence right would answer the same if it were shown its own edges.

    Parameters
    ----------
    min_nodes, max_nodes : int
        Nodes of the graph, two at least: the range of the size "nodes".
    min_degree, max_degree : int
        Range of the number of edges from a node.
    min_length, max_length : int
        Edges of the path, fewer than nodes: the range of the size "length".
    planning_steps : int
        Steps between query and answer; ten in the paper.
    batch_size, seed :
        See :class:`Task`.

    Raises
    ------
    ValueError
        If a number is no positive integer, the lower end of a range is above the upper one, `min_nodes` is one or not
        above `max_length`, or `max_nodes` is above 1000; and by :meth:`sample` if there are hardly any graphs with
        such a path.

    References
    ----------
    Graves et al. 2016, Hybrid computing using a neural network with dynamic external memory, Methods ("Graph task
    descriptions", "Shortest path", "Structured prediction") and extended data table 5.
    """

    shows_answer = True

    def __init__(
        self,
        min_nodes: int = 5,
        max_nodes: int = 10,
        min_degree: int = 1,
        max_degree: int = 3,
        min_length: int = 2,
        max_length: int = 3,
        planning_steps: int = 10,
        batch_size: int = 1,
        seed: Seed = None,
    ) -> None:
        self.planning_steps = self.check_integer("planning_steps", planning_steps)
        super().__init__(
            (min_nodes, max_nodes),
            (min_degree, max_degree),
            (min_length, max_length),
            batch_size,
            seed,
        )
        if max_length >= min_nodes:
            self._fail(
                f"a path of max_length = {max_length} edges passes more than min_nodes = {min_nodes}"
            )

    def count_question_steps(self, length: int) -> int:
        return 1 + self.planning_steps

    def ask(self, rng: np.random.Generator, graph: np.ndarray, length: int) -> Question | None:
        nodes = graph[-1, 0] + 1
        leads = np.zeros((nodes, nodes), np.int64)
        leads[graph[:, 0], graph[:, 2]] = 1
        # How many walks of 0, 1, ..., length edges there are between any two nodes: none, one, or two or more
        walks = [np.eye(nodes, dtype=np.int64)]
        for _ in range(length):
            walks.append(np.minimum(walks[-1] @ leads, 2))
        pairs = np.argwhere((walks[-1] == 1) & ~np.any(walks[:-1], axis=0))
        if len(pairs) == 0:
            return None
        node, last = rng.choice(pairs)
        query = [[node, BLANK, last]]
        path = np.empty((length, 3), graph.dtype)
        for step in range(length):
            following = np.argmax(leads[node] * walks[length - 1 - step][:, last])
            path[step] = graph[(graph[:, 0] == node) & (graph[:, 2] == following)]
            node = following
        return [query, np.full((self.planning_steps, 3), BLANK)], path
