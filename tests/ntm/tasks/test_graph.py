"""The tasks on graphs: sequences are decoded again, and the questions answered by a search of another kind."""

from collections import Counter, deque
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntm.tasks import GraphTraversalTask, ShortestPathTask
from ntm.tasks.graph import draw_graph, encode_triples

from .samples import SEEDS, assert_sequence, bits_of, in_sequences, samples

END = (0, 0, 0)
TRAVERSALS = samples(
    GraphTraversalTask,
    {
        "min_degree": st.integers(1, 2),
        "max_degree": st.integers(2, 5),
    },
    {"nodes": st.integers(2, 9), "length": st.integers(1, 6)},
    num_steps=lambda task, nodes, length: nodes * min(task.degree[1], nodes - 1) + 2 * length + 1,
)
SHORTEST_PATHS = samples(
    ShortestPathTask,
    {"planning_steps": st.integers(1, 4)},
    {"nodes": st.integers(5, 9), "length": st.integers(1, 3)},
    num_steps=lambda task, nodes, length: (
        nodes * min(3, nodes - 1) + 1 + task.planning_steps + length + 1
    ),
)


def decode(rows):
    """The triples in rows of 90 channels, with None for a label that is left open."""
    triples = []
    for row in bits_of(rows):
        labels = []
        for start in (0, 30, 60):
            digits = [row[start + 10 * k : start + 10 * k + 10] for k in range(3)]
            ones = [sum(digit) for digit in digits]
            assert ones in ([0, 0, 0], [1, 1, 1])
            number = int("".join(str(digit.index(1)) for digit in digits)) if ones[0] else None
            labels.append(number)
        triples.append(tuple(labels))
    return triples


def read(sequence):
    """The triples of each phase in the inputs, and those in the answer; the markers are in their places."""
    inputs, targets, weights = sequence
    answering = np.flatnonzero(inputs[:, 91])
    begin, end = answering[0], answering[-1] + 1
    assert answering.tolist() == list(range(begin, end))
    starts = np.flatnonzero(inputs[:, 90]).tolist()
    assert starts[-1] == begin
    np.testing.assert_array_equal(weights, inputs[:, 91])
    assert not targets[weights == 0].any()
    assert not inputs[end:].any()
    bounds = [0, *starts, end]
    triples = decode(inputs[:, :90])
    phases = [triples[a:b] for a, b in pairwise(bounds)]
    return phases, decode(targets[begin:end])


def assert_graph(edges, nodes, degree):
    """Edges are those of a graph of so many nodes, each with so many edges to others."""
    assert len({(source, edge) for source, edge, _ in edges}) == len(edges)
    assert len({(source, destination) for source, _, destination in edges}) == len(edges)
    assert all(source != destination for source, _, destination in edges)
    counts = Counter(source for source, _, _ in edges)
    assert len(counts) == nodes
    assert {destination for _, _, destination in edges} <= set(counts)
    assert len({edge for _, edge, _ in edges}) <= nodes
    low, high = (min(each, nodes - 1) for each in degree)
    assert all(low <= count <= high for count in counts.values())


def find_paths(edges, start, end):
    """All shortest paths, as lists of edges, by a search in breadth."""
    found, queue, distance = [], deque([(start, [])]), {start: 0}
    while queue:
        node, path = queue.popleft()
        if found and len(path) > len(found[0]):
            break
        if node == end:
            found.append(path)
        for edge in edges:
            if edge[0] == node and distance.setdefault(edge[2], len(path) + 1) == len(path) + 1:
                queue.append((edge[2], [*path, edge]))
    return found


@pytest.mark.slow
@given(TRAVERSALS)
def test_traversal(sample):
    task, sizes, batch = sample
    for size, sequence in zip(sizes, in_sequences(batch), strict=True):
        (edges, query, shown), answer = read(sequence)
        assert_graph(edges, size["nodes"], task.degree)
        assert len(query) == size["length"]
        node, destinations = query[0][0], {edge[:2]: edge[2] for edge in edges}
        path = []
        for step, (source, label, destination) in enumerate(query):
            assert (source is None) == (step > 0)
            assert destination is None
            path.append((node, label, destinations[node, label]))
            node = path[-1][2]
        assert answer == [*path, END]
        assert shown == [(None, None, None)] * (size["length"] + 1)


@pytest.mark.slow
@given(SHORTEST_PATHS)
def test_shortest_path(sample):
    task, sizes, batch = sample
    for size, sequence in zip(sizes, in_sequences(batch), strict=True):
        (edges, query, planning, shown), answer = read(sequence)
        assert_graph(edges, size["nodes"], (1, 3))
        ((start, label, end),) = query
        assert label is None
        assert planning == [(None, None, None)] * task.planning_steps
        (path,) = find_paths(edges, start, end)
        assert len(path) == size["length"]
        assert answer == [*path, END]
        assert shown == [(None, None, None), *path]


@given(SEEDS, st.integers(2, 12), st.integers(1, 4))
def test_edges_lead_to_the_nearest_nodes(seed, nodes, degree):
    graph = draw_graph(np.random.default_rng(seed), nodes, (degree, degree))
    points = np.random.default_rng(seed).random((nodes, 2))
    for node in range(nodes):
        distances = np.hypot(*(points - points[node]).T)
        nearest = sorted((d, k) for k, d in enumerate(distances) if k != node)[:degree]
        chosen = graph[graph[:, 0] == node][:, 2].tolist()
        assert chosen == [k for _, k in nearest]


@pytest.mark.slow
def test_what_is_drawn_is_drawn_uniformly():
    task = GraphTraversalTask(
        min_nodes=6, max_nodes=6, max_degree=3, min_length=1, max_length=1, batch_size=2000, seed=0
    )
    degrees, starts, places, labels = Counter(), Counter(), Counter(), []
    changes = []
    for sequence in in_sequences(next(task)):
        (edges, query, _), (path, _) = read(sequence)
        degrees.update(Counter(source for source, _, _ in edges).values())
        sources = sorted({source for source, _, _ in edges})
        labels += sources
        changes.append(np.mean([one[0] != other[0] for one, other in pairwise(edges)]))
        starts[sources.index(query[0][0])] += 1
        places[edges.index(path) / len(edges) < 0.5] += 1
    # In random order, an edge hardly ever follows on another from the same node
    assert 0.87 < np.mean(changes) < 0.92
    assert set(degrees) == {2, 3}
    assert abs(degrees[2] / sum(degrees.values()) - 0.5) < 0.02
    assert set(starts) == set(range(6))
    assert min(starts.values()) > 260  # of 333 on average
    assert abs(places[True] / 2000 - 0.5) < 0.05
    assert abs(np.mean(labels) - 499.5) < 10
    assert (min(labels), max(labels)) == (0, 999)


def test_every_pair_of_nodes_that_can_be_is_asked_for():
    """On one graph: the pairs with one shortest path of two edges, and no others."""
    rng = np.random.default_rng(3)
    graph = draw_graph(rng, 8, (2, 2))
    edges = [tuple(edge) for edge in graph.tolist()]
    expected = set()
    for start in range(8):
        for end in range(8):
            paths = find_paths(edges, start, end)
            if len(paths) == 1 and len(paths[0]) == 2:
                expected.add((start, end))
    task = ShortestPathTask()
    asked = Counter()
    for _ in range(100 * len(expected)):
        (query, _), path = task.ask(rng, graph, 2)
        (start, _, end) = query[0]
        asked[start, end] += 1
        assert [tuple(edge) for edge in path.tolist()] == find_paths(edges, start, end)[0]
    assert set(asked) == expected
    assert min(asked.values()) > 50


def test_triples():
    row = encode_triples([[7, -1, 980], [0, 999, -1]])
    assert np.flatnonzero(row[0]).tolist() == [0, 10, 27, 69, 78, 80]
    assert np.flatnonzero(row[1]).tolist() == [0, 10, 20, 39, 49, 59]


def test_smallest_graph():
    """Two nodes with an edge to each other: step by step."""
    task = GraphTraversalTask(min_degree=1, max_degree=4, seed=1)
    batch = task.sample(nodes=2, length=2)
    sequence = next(in_sequences(batch))
    (edges, query, _), _ = read(sequence)
    assert edges[0][::2] == edges[1][::-2]
    first = edges[0] if query[0][0] == edges[0][0] else edges[1]
    second = edges[1] if first is edges[0] else edges[0]
    rows = [*edges, (first[0], first[1], None), (None, second[1], None), *[(None,) * 3] * 3]
    inputs = np.zeros((7, 92))
    for row, triple in zip(inputs, rows, strict=True):
        for place, label in enumerate(triple):
            for k, digit in enumerate("" if label is None else f"{label:03d}"):
                row[30 * place + 10 * k + int(digit)] = 1
    inputs[[2, 4], 90] = 1
    inputs[4:, 91] = 1
    targets = np.zeros((7, 90))
    targets[4], targets[5] = (
        inputs[edges.index(first), :90],
        inputs[edges.index(second), :90],
    )
    targets[6, [0, 10, 20, 30, 40, 50, 60, 70, 80]] = 1
    assert_sequence(sequence, inputs, targets, [0, 0, 0, 0, 1, 1, 1])


def test_measures():
    task = GraphTraversalTask(batch_size=4, min_length=2, max_length=2, seed=0)
    batch = next(task)
    answers = np.argwhere(batch.mask)[::3]  # the first step of each answer
    predictions = 0.9 * batch.targets + 0.1 / 9 * (1 - batch.targets)
    measured = task.measure(predictions, batch)
    np.testing.assert_allclose(measured["bits"], -27 * np.log2(0.9), rtol=1e-5)
    np.testing.assert_array_equal(measured["wrong"], 0)
    # Of the first sequence a digit is wrong, of the second two digits of one triple
    for k, digits in ((0, (4,)), (1, (0, 8))):
        row = predictions[k, answers[k, 1]].reshape(9, 10)
        for digit in digits:
            row[digit] = np.roll(row[digit], 1)
    measured = task.measure(predictions, batch)
    np.testing.assert_array_equal(measured["wrong"], [1, 1, 0, 0])
    np.testing.assert_array_equal(measured["correct"], [0, 0, 1, 1])


def test_options_that_cannot_be():
    for task in (GraphTraversalTask, ShortestPathTask):
        with pytest.raises(ValueError, match=r"min_degree = 4 is above max_degree = 3"):
            task(min_degree=4, max_degree=3)
        with pytest.raises(ValueError, match=r"min_nodes must be at least 2, not 1"):
            task(min_nodes=1)
        with pytest.raises(ValueError, match=r"1000 labels, fewer than nodes = 1001"):
            task(max_nodes=1001)
        with pytest.raises(ValueError, match=r"1000 labels, fewer than nodes = 1002"):
            task().sample(nodes=1002)
    message = r"a path of max_length = 5 edges passes more than min_nodes = 5"
    with pytest.raises(ValueError, match=message):
        ShortestPathTask(max_length=5)


def test_a_path_that_there_is_in_no_graph(monkeypatch):
    monkeypatch.setattr("ntm.tasks.graph.MAX_GRAPHS", 20)
    message = (
        r"ShortestPathTask: of 20 graphs with nodes = 3 and 1 to 3 edges from each, there is "
        r"none to be asked for length = 3"
    )
    with pytest.raises(ValueError, match=message):
        ShortestPathTask().sample(nodes=3, length=3)


def test_defaults():
    task = GraphTraversalTask()
    assert task.sizes == {"nodes": (3, 10), "length": (1, 4)}
    assert (task.num_inputs, task.num_outputs, task.longest) == (92, 90, 10 * 4 + 4 + 5)
    task = ShortestPathTask()
    assert task.sizes == {"nodes": (5, 10), "length": (2, 3)}
    assert (task.num_inputs, task.num_outputs, task.longest) == (92, 90, 10 * 3 + 11 + 4)
