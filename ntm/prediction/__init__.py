"""What a trained network makes of a user's arrays: predictions, sequences that go on, and what happens inside."""

from ntm.prediction.generation import generate
from ntm.prediction.inspection import Inspector, look_inside
from ntm.prediction.predictor import Predictor

__all__ = ["Inspector", "Predictor", "generate", "look_inside"]
