"""Pictures of what a memory network does, and of how it learns."""

from ntm.visualization.curves import plot_generalisation, plot_learning
from ntm.visualization.figures import check_figure_path, save_figure
from ntm.visualization.sequences import plot_sequence

__all__ = [
    "check_figure_path",
    "plot_generalisation",
    "plot_learning",
    "plot_sequence",
    "save_figure",
]
