"""The report of a sweep, from the files in its folder: tables, pictures and a page."""

from ntm.sweeps.report.documents import Summary, is_sweep, make_tables, read_sweep
from ntm.sweeps.report.files import write_report
from ntm.sweeps.report.outcomes import OutcomeReader
from ntm.sweeps.report.page import SweepPage
from ntm.sweeps.report.statistics import describe_number, describe_spread
from ntm.sweeps.report.summary import rank_result
from ntm.sweeps.report.tables import Table, write_markdown

__all__ = [
    "OutcomeReader",
    "Summary",
    "SweepPage",
    "Table",
    "describe_number",
    "describe_spread",
    "is_sweep",
    "make_tables",
    "rank_result",
    "read_sweep",
    "write_markdown",
    "write_report",
]
