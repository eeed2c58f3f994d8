"""The tasks that memory networks are measured on: generators of NumPy arrays."""

from ntm.tasks.addition import AdditionTask
from ntm.tasks.argmax import ArgmaxTask
from ntm.tasks.associative_recall import AssociativeRecallTask
from ntm.tasks.base import Batch, Task
from ntm.tasks.copy import CopyTask
from ntm.tasks.dyck_words import DyckWordsTask
from ntm.tasks.dynamic_ngrams import DynamicNGramsTask
from ntm.tasks.graph_traversal import GraphTraversalTask
from ntm.tasks.priority_sort import PrioritySortTask
from ntm.tasks.repeat_copy import RepeatCopyTask
from ntm.tasks.reversed_copy import ReversedCopyTask
from ntm.tasks.shortest_path import ShortestPathTask
from ntm.tasks.sort import SortTask
from ntm.tasks.upside_down_copy import UpsideDownCopyTask

#: The tasks by their names on the command line
TASKS = {
    "copy": CopyTask,
    "reversed-copy": ReversedCopyTask,
    "upside-down-copy": UpsideDownCopyTask,
    "repeat-copy": RepeatCopyTask,
    "associative-recall": AssociativeRecallTask,
    "dynamic-ngrams": DynamicNGramsTask,
    "priority-sort": PrioritySortTask,
    "sort": SortTask,
    "dyck-words": DyckWordsTask,
    "addition": AdditionTask,
    "argmax": ArgmaxTask,
    "graph-traversal": GraphTraversalTask,
    "shortest-path": ShortestPathTask,
}

__all__ = [
    "TASKS",
    "AdditionTask",
    "ArgmaxTask",
    "AssociativeRecallTask",
    "Batch",
    "CopyTask",
    "DyckWordsTask",
    "DynamicNGramsTask",
    "GraphTraversalTask",
    "PrioritySortTask",
    "RepeatCopyTask",
    "ReversedCopyTask",
    "ShortestPathTask",
    "SortTask",
    "Task",
    "UpsideDownCopyTask",
]
