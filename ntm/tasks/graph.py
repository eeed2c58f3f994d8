"""The base class of the tasks on graphs: random graphs, and how their edges are encoded."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ntm.tasks.base import Seed, SequenceArrays, Task

#: The triples (S, 3) of each phase between the graph and the answer, and those of the answer
Question: TypeAlias = tuple[Sequence[npt.ArrayLike], np.ndarray]

#: Nodes and edges have labels from 0 to below this
NUM_LABELS = 1000
#: Stands for a label that is left open
BLANK = -1
#: What comes after the last triple of an answer. No edge is this one, as none leads from a node to itself
END = (0, 0, 0)
#: How many graphs are drawn, at most, to find one about which a question can be asked
MAX_GRAPHS = 10_000


class GraphTask(Task):
    """Base class of the tasks on graphs: a graph is described edge by edge, then comes a question about the graph.

    An edge is a triple of labels: of its source, of the edge, and of its destination. :class:`GraphTraversalTask`
    shows how triples and phases are encoded. A subclass asks the question: :meth:`ask` and
    :meth:`count_question_steps`.

    Parameters
    ----------
    nodes, degree, length : pair of int
        The ends of the ranges of nodes, outgoing edges of a node, and edges of the answer.
    batch_size, seed :
        See :class:`Task`.
    """

    output = "digits"
    solved = ("bits", 0.1)

    #: Whether the network is shown, as it answers, the triple that it should have given the step before
    shows_answer = False

    def __init__(
        self,
        nodes: tuple[int, int],
        degree: tuple[int, int],
        length: tuple[int, int],
        batch_size: int = 1,
        seed: Seed = None,
    ) -> None:
        ends = zip(("min_degree", "max_degree"), degree, strict=True)
        low, high = (self.check_integer(name, value) for name, value in ends)
        self.degree = low, high
        if self.degree[0] > self.degree[1]:
            self._fail(f"min_degree = {degree[0]} is above max_degree = {degree[1]}")
        sizes = {"nodes": nodes, "length": length}
        super().__init__(92, 90, sizes, batch_size, seed, smallest={"nodes": 2})
        self._check_nodes(self.sizes["nodes"][1])

    def count_question_steps(self, length: int) -> int:
        """Return the steps between the graph's last edge and the answer of `length` triples."""
        raise NotImplementedError

    def ask(self, rng: np.random.Generator, graph: np.ndarray, length: int) -> Question | None:
        """Draw a question about a graph.

        Parameters
        ----------
        rng : numpy.random.Generator
        graph : array (E, 3)
            See :func:`ntm.tasks.graph.draw_graph`.
        length : int
            Triples of the answer.

        Returns
        -------
        phases : list of array (S, 3)
            Triples of the phases between the graph's description and the answer.
        answer : array (length, 3)

        Or None, if there is no such question about this graph.
        """
        raise NotImplementedError

    def num_steps(self, nodes: int, length: int) -> int:
        """Return the steps of such a sequence if all nodes have as many edges as they can have."""
        edges = nodes * min(self.degree[1], nodes - 1)
        return edges + self.count_question_steps(length) + length + 1

    def count_items(self, nodes: int, length: int) -> int:
        """Return how many edges the network has to keep: those of a graph with the fewest edges."""
        return nodes * min(self.degree[0], nodes - 1)

    def make(self, rng: np.random.Generator, nodes: int, length: int) -> SequenceArrays:
        """Draw a graph of `nodes` nodes and a question whose answer has `length` triples: see :meth:`Task.make`."""
        self._check_nodes(nodes)
        for _ in range(MAX_GRAPHS):
            graph = draw_graph(rng, nodes, self.degree)
            asked = self.ask(rng, graph, length)
            if asked is not None:
                break
        else:
            low, high = self.degree
            self._fail(
                f"of {MAX_GRAPHS} graphs with nodes = {nodes} and {low} to {high} edges from each, there is none to "
                f"be asked for length = {length}"
            )
        phases, answer = asked
        labels = rng.choice(NUM_LABELS, nodes, replace=False)
        shown_phases = [_label(each, labels) for each in (graph, *phases)]
        answer = _label(answer, labels)
        expected = np.concatenate([answer, [END]])
        shown = np.full_like(expected, BLANK)
        if self.shows_answer:
            shown[1:] = answer
        steps = self.num_steps(nodes, length)
        return lay_out_phases(
            [rng.permutation(shown_phases[0]), *shown_phases[1:], shown], expected, steps
        )

    @property
    def input_names(self) -> dict[int, str]:
        """The middle channel of each label of a triple, and the channels that are no digits."""
        return {**self.output_names, 90: "new phase", 91: "answer"}

    @property
    def output_names(self) -> dict[int, str]:
        """The middle channel of each label of a triple."""
        return {15: "source", 45: "edge", 75: "destination"}

    def spell_inputs(self, inputs: np.ndarray) -> list[str]:
        """Return the triple that each step shows, such as ``071 512 ···``, after a ``>`` where a phase begins."""
        shown = [bool(step.any()) for step in inputs]
        marks = np.where(inputs[:, 90] != 0, ">", " ")
        texts = zip(marks, spell_triples(inputs[:, :90]), shown, strict=True)
        return [f"{mark}{text}" if is_shown else "" for mark, text, is_shown in texts]

    def spell_outputs(self, outputs: np.ndarray) -> list[str]:
        """Return the most probable triple of each step; ``end`` for the triple at the end of an answer."""
        return ["end" if text == "000 000 000" else text for text in spell_triples(outputs)]

    def _check_nodes(self, nodes: int) -> None:
        if nodes > NUM_LABELS:
            self._fail(f"there are {NUM_LABELS} labels, fewer than nodes = {nodes}")


def draw_graph(rng: np.random.Generator, nodes: int, degree: tuple[int, int]) -> np.ndarray:
    """Draw a directed graph: from each node, of points in the unit square, there are edges to the nearest ones.

    Parameters
    ----------
    rng : numpy.random.Generator
    nodes : int
        N.
    degree : pair of int
        The range of how many edges go out from a node, drawn for each; to all others if that are more.

    Returns
    -------
    array (E, 3) of int
        Source, from 0 to N - 1; label of the edge; destination. Labels are among N numbers, and different for the edges
        from the same node.
    """
    points = rng.random((nodes, 2))
    distances = np.square(points[:, None] - points).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argsort(axis=1)[:, : nodes - 1]
    degrees = rng.integers(degree[0], degree[1] + 1, nodes)
    is_edge = np.arange(nodes - 1) < degrees[:, None]
    numbers = np.tile(rng.choice(NUM_LABELS, nodes, replace=False), (nodes, 1))
    edges = rng.permuted(numbers, axis=1)[:, : nodes - 1]
    sources = np.broadcast_to(np.arange(nodes)[:, None], is_edge.shape)
    return np.stack([sources[is_edge], edges[is_edge], nearest[is_edge]], axis=1)


def _label(triples: npt.ArrayLike, labels: np.ndarray) -> np.ndarray:
    """Return triples with the labels of their nodes in place of the nodes."""
    triples = np.array(triples)
    for place in (0, 2):
        nodes = triples[:, place]
        triples[:, place] = np.where(nodes == BLANK, BLANK, labels[nodes])
    return triples


def encode_triples(triples: npt.ArrayLike) -> np.ndarray:
    """Encode triples of labels as ones and zeros.

    Parameters
    ----------
    triples : array (n, 3) of int

    Returns
    -------
    array (n, 90)
        For each of the three labels its three digits, each one of ten; only zeros for a `BLANK`.
    """
    triples = np.asarray(triples)[:, :, None]
    digits = np.eye(10, dtype=np.float32)[triples // np.array([100, 10, 1]) % 10]
    return (digits * (triples != BLANK)[..., None]).reshape(-1, 90)


def spell_triples(channels: npt.ArrayLike) -> list[str]:
    """Return the triples that channels (T, 90) stand for, by the largest of each ten; dots for labels left open."""
    digits = np.asarray(channels).reshape(-1, 3, 3, 10)
    labels = np.where(digits.any(axis=3), digits.argmax(axis=3).astype(str), "·")
    return [" ".join("".join(label) for label in triple) for triple in labels]


def lay_out_phases(
    phases: Sequence[np.ndarray], answer: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay out a sequence of phases, the last of which is the answer's.

    Parameters
    ----------
    phases : list of array (n, 3)
        The triples that are shown in each of them.
    answer : array (m, 3)
        The triples that are expected in the last one.
    steps : int
        T; what is behind the last phase is empty.

    Returns
    -------
    inputs : array (T, 92)
        The triples; in channel 90 a one where a phase begins, but for the first; in channel 91 ones in the last phase.
    targets : array (T, 90)
    weights : array (T,)
    """
    *starts, end = np.cumsum([len(phase) for phase in phases])
    inputs = np.zeros((steps, 92), np.float32)
    targets = np.zeros((steps, 90), np.float32)
    weights = np.zeros(steps, np.float32)
    inputs[:end, :90] = encode_triples(np.concatenate(phases))
    inputs[starts, 90] = 1.0
    inputs[starts[-1] : end, 91] = 1.0
    targets[starts[-1] : end] = encode_triples(answer)
    weights[starts[-1] : end] = 1.0
    return inputs, targets, weights
