"""The example that serves a network over HTTP: right answers to good requests, clear refusals of bad ones."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytensor
import pytest

import ntm
from lasagne.layers import ConcatLayer, DenseLayer, InputLayer, LSTMLayer, get_output

testclient = pytest.importorskip("fastapi.testclient", reason="pip install '.[test]'")
pytestmark = pytest.mark.slow

PATH = Path(__file__).parents[1] / "examples" / "serve-predictor.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("serve_predictor", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def l_out():
    with pytensor.config.change_flags(floatX="float32"):
        l_in = InputLayer((None, None, 3))
        yield DenseLayer(LSTMLayer(l_in, 4), 2, num_leading_axes=2, nonlinearity=None)


@pytest.fixture(scope="module")
def client(example, l_out, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "network.safetensors"
    ntm.save(path, l_out)
    app = example.make_app(str(path), max_sequences=4, max_steps=8, max_bytes=100_000)
    with testclient.TestClient(app) as client:
        yield client


def test_the_service_is_healthy(client):
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "features": 3, "max_steps": 8}


def test_predictions_are_those_of_the_network(client, l_out):
    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(length, 3)) for length in (5, 1, 8)]
    answer = client.post("/predict", json={"sequences": [s.tolist() for s in sequences]})
    assert answer.status_code == 200, answer.text
    for sequence, prediction in zip(sequences, answer.json()["predictions"], strict=True):
        expected = get_output(l_out, sequence[None].astype("float32")).eval()[0]
        np.testing.assert_allclose(prediction, expected, rtol=1e-4, atol=1e-5)


def test_answers_are_probabilities_if_asked_for(example, tmp_path, l_out):
    path = tmp_path / "network.safetensors"
    ntm.save(path, l_out)
    client = testclient.TestClient(example.make_app(str(path), "classes", max_steps=8))
    answer = client.post("/predict", json={"sequences": [[STEP, STEP]]}).json()
    np.testing.assert_allclose(np.sum(answer["predictions"], axis=-1), 1, rtol=1e-5)


STEP = [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("", 400, "required"),
        ("{", 400, "no JSON at character 1"),
        ("[" * 90_000, 400, "body"),
        ({}, 400, "sequences: Field required"),
        ({"sequences": []}, 400, "sequence"),
        ({"sequences": [[]]}, 400, "step"),
        ({"sequences": [STEP]}, 400, "sequences[0][0]"),
        ({"sequences": [[STEP], [STEP, [1, 2]]]}, 400, "sequences[1][1] has 2 numbers, not 3"),
        ({"sequences": [[STEP, [1, "2", 3]]]}, 400, "sequences[0][1][1]"),
        ({"sequences": [[[1, True, 3]]]}, 400, "sequences[0][0][1]"),
        ({"sequences": [[STEP, [1, None, 3]]]}, 400, "sequences[0][1][1]"),
        ('{"sequences": [[[1, NaN, 3]]]}', 400, "inputs[0, 0, 1] must be finite"),
        ('{"sequences": [[[1, 1e999, 3]]]}', 400, "not inf"),
        ('{"sequences": [[[1, 1e300, 3]]]}', 400, "1e+300"),
        ({"sequences": [[STEP]] * 5}, 413, "5 sequences; at most 4"),
        ({"sequences": [[STEP] * 9]}, 413, "sequences[0] has 9 steps; at most 8"),
        (" " * 100_001, 413, "Content Too Large"),
    ],
)
def test_bad_requests_are_refused_with_the_reason(client, body, status, words):
    content = body if isinstance(body, str) else json.dumps(body)
    answer = client.post("/predict", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert words in answer.text


def test_a_body_without_its_length_is_counted_while_it_comes(client):
    chunks = iter([b" " * 30_000] * 4)  # sent in pieces, so there is no Content-Length
    answer = client.post("/predict", content=chunks, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json() == {"detail": "Content Too Large"}


def test_a_network_with_two_inputs_is_refused(example, tmp_path):
    layers = [InputLayer((None, None, 3), name=name) for name in ("a", "b")]
    ntm.save(tmp_path / "two.safetensors", ConcatLayer(layers, axis=2))
    with pytest.raises(ValueError, match="one input"):
        example.make_app(str(tmp_path / "two.safetensors"))
