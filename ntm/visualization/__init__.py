"""Pictures of what a memory network does, and of how it learns."""

from ntm.visualization.animation import animate_sequence
from ntm.visualization.curves import plot_learning
from ntm.visualization.dashboard import Dashboard, plot_dashboard
from ntm.visualization.figures import check_figure_path, save_figure
from ntm.visualization.generalisation import plot_generalisation
from ntm.visualization.network import plot_network
from ntm.visualization.sequences import plot_sequence
from ntm.visualization.style import COLUMN_WIDTH, FULL_WIDTH, STYLE

__all__ = [
    "COLUMN_WIDTH",
    "FULL_WIDTH",
    "STYLE",
    "Dashboard",
    "animate_sequence",
    "check_figure_path",
    "plot_dashboard",
    "plot_generalisation",
    "plot_learning",
    "plot_network",
    "plot_sequence",
    "save_figure",
]
