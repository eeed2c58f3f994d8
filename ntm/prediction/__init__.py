"""What a trained network makes of a user's arrays: predictions, and sequences that go on from its own outputs."""

from ntm.prediction.generation import generate
from ntm.prediction.predictor import Predictor

__all__ = ["Predictor", "generate"]
