"""Training: the trainer, the evaluator, curricula, learning-rate schedules, recovery and loggers."""

from ntm.training.curricula import CURRICULA, make_curriculum
from ntm.training.evaluator import Evaluator
from ntm.training.loggers import JSONLines, TensorBoard, read_json_lines
from ntm.training.losses import predictions, sequence_loss
from ntm.training.recovery import Restarter, Rewinder
from ntm.training.schedules import SCHEDULES, make_schedule
from ntm.training.trainer import Trainer, TrainingError

__all__ = [
    "CURRICULA",
    "SCHEDULES",
    "Evaluator",
    "JSONLines",
    "Restarter",
    "Rewinder",
    "TensorBoard",
    "Trainer",
    "TrainingError",
    "make_curriculum",
    "make_schedule",
    "predictions",
    "read_json_lines",
    "sequence_loss",
]
