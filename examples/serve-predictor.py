"""Answer predictions over HTTP: a network in a file, behind FastAPI.

python examples/serve-predictor.py network.safetensors
python examples/serve-predictor.py network.safetensors --kind classes --port 8080

    curl -X POST http://127.0.0.1:8000/predict -H 'Content-Type: application/json' \\
         -d '{"sequences": [[[0.1, 0.2]], [[0.3, 0.4], [0.5, 0.6]]]}'

The packages that this example needs: pip install '.[serve]'
"""

import argparse
from typing import Annotated

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Strict

import ntm
from lasagne.layers import InputLayer, get_all_layers

# A number is a number: not a string of digits, nor true or false
Number = Annotated[float, Strict()]


class Question(BaseModel):
    """Sequences of any lengths; each is a list of steps, each step a list of numbers."""

    sequences: list[list[list[Number]]]


class Answer(BaseModel):
    """The network's output for each sequence: (T, O) of a network with an output a step, else (O,)."""

    predictions: list


def make_app(
    path: str,
    kind: str | None = None,
    max_sequences: int = 100,
    max_steps: int = 1000,
    max_bytes: int = 2_000_000,
) -> FastAPI:
    """Return an application that predicts with the network in a file.

    Parameters
    ----------
    path : str
        A file of `ntm.save`. Its network has one input, (batch, time, features).
    kind : {'classes', 'bits'}, optional
        If given, answers are probabilities, also where the network gives logits.
    max_sequences, max_steps, max_bytes : int
        Limits of a request: sequences, steps of a sequence, bytes of the body. Beyond them the answer is 413.

    Raises
    ------
    ValueError
        If the network has several inputs, or an input of another shape.
    """
    l_out = ntm.load(path)
    shapes = [layer.shape for layer in get_all_layers(l_out) if isinstance(layer, InputLayer)]
    if len(shapes) != 1 or len(shapes[0]) != 3:
        raise ValueError(
            f"{path}: this example serves networks with one input (batch, time, features), not {shapes}"
        )
    num_features = shapes[0][2]
    predictor = ntm.Predictor(l_out, kind=kind)
    # Compile before the first request comes, for the longest sequences. Shorter ones compile when they come first.
    predictor.predict([np.zeros((max_steps, num_features), "float32")])

    app = FastAPI(title="Predictions", max_body_size=max_bytes)

    @app.exception_handler(RequestValidationError)
    def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
        """Say what the first mistake is, such as `sequences[0][2][1]: Input should be a valid number`."""
        first = error.errors()[0]
        message = first["msg"]
        if first["type"] == "json_invalid":
            message = f"the body is no JSON at character {first['loc'][1]}: {first['ctx']['error']}"
        elif path := first["loc"][1:]:
            where = [f"[{part}]" if isinstance(part, int) else part for part in path]
            message = f"{''.join(where)}: {message}"
        return JSONResponse({"detail": message}, status_code=400)

    @app.get("/health")
    def health() -> dict[str, object]:
        """Answer that the network is loaded and compiled."""
        return {"status": "ok", "features": num_features, "max_steps": max_steps}

    # FastAPI calls a function without `async` in a thread. A Predictor may be used by several threads.
    @app.post("/predict")
    def predict(question: Question) -> Answer:
        """Predict. Bad input is answered by 400, too much by 413, with the reason."""
        sequences = question.sequences
        if len(sequences) > max_sequences:
            raise HTTPException(413, f"{len(sequences):,} sequences; at most {max_sequences:,}")
        for k, sequence in enumerate(sequences):
            if len(sequence) > max_steps:
                raise HTTPException(
                    413, f"sequences[{k}] has {len(sequence):,} steps; at most {max_steps:,}"
                )
            for t, step in enumerate(sequence):
                if len(step) != num_features:
                    raise HTTPException(
                        400, f"sequences[{k}][{t}] has {len(step)} numbers, not {num_features}"
                    )
        try:
            outputs = predictor.predict(
                [np.array(sequence, "float64").reshape(-1, num_features) for sequence in sequences]
            )
        except ValueError as error:  # such as numbers that are not finite, no sequence, no step
            raise HTTPException(400, str(error)) from error
        return Answer(predictions=[np.asarray(output).tolist() for output in outputs])

    return app


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", help="a file of ntm.save")
    parser.add_argument("--kind", choices=["classes", "bits"], help="answer with probabilities")
    parser.add_argument("--host", default="127.0.0.1", help="(default: %(default)s, this machine)")
    parser.add_argument("--port", type=int, default=8000, help="(default: %(default)s)")
    parser.add_argument("--max-sequences", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--max-steps", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--max-bytes", type=int, default=2_000_000, help="(default: %(default)s)")
    options = parser.parse_args()

    ntm.use_jax()  # compile to JAX, compute in float32
    app = make_app(
        options.network, options.kind, options.max_sequences, options.max_steps, options.max_bytes
    )
    # At most 100 connections at once; the next is answered by 503
    uvicorn.run(app, host=options.host, port=options.port, limit_concurrency=100)


if __name__ == "__main__":
    main()
