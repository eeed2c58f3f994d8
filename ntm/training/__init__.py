"""Training: the trainer, evaluators, metrics, callbacks, curricula, schedules, recovery and loggers."""

from lasagne.processes import LostProcessError, Processes, join_processes
from ntm.prediction.probabilities import predictions
from ntm.training.callbacks import (
    Callback,
    DropLearningRate,
    EarlyStop,
    KeepBest,
    MetricCallback,
    RowLogger,
)
from ntm.training.curricula import CURRICULA, make_curriculum
from ntm.training.data_evaluator import DataEvaluator
from ntm.training.evaluator import Evaluator
from ntm.training.loggers import JSONLines, TensorBoard, read_json_lines
from ntm.training.losses import sequence_loss
from ntm.training.metrics import METRICS, Metric, make_metrics
from ntm.training.recovery import Restarter, Rewinder
from ntm.training.replicas import ReplicaResult, train_replicas
from ntm.training.schedules import SCHEDULES, make_schedule
from ntm.training.trainer import Trainer, TrainingError

__all__ = [
    "CURRICULA",
    "METRICS",
    "SCHEDULES",
    "Callback",
    "DataEvaluator",
    "DropLearningRate",
    "EarlyStop",
    "Evaluator",
    "JSONLines",
    "KeepBest",
    "LostProcessError",
    "Metric",
    "MetricCallback",
    "Processes",
    "ReplicaResult",
    "Restarter",
    "Rewinder",
    "RowLogger",
    "TensorBoard",
    "Trainer",
    "TrainingError",
    "join_processes",
    "make_curriculum",
    "make_metrics",
    "make_schedule",
    "predictions",
    "read_json_lines",
    "sequence_loss",
    "train_replicas",
]
