"""Pages of runs: one HTML file to send round, or a page that follows a run while it is trained."""

from ntm.reports.files import make_html, write_page
from ntm.reports.page import Page
from ntm.reports.server import PageServer
from ntm.reports.watching import follow

__all__ = ["Page", "PageServer", "follow", "make_html", "write_page"]
