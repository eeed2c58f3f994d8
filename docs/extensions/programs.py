"""Programs as pages: the name of the file, then the whole program."""

from pathlib import PurePath

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.parsers import Parser


class ProgramParser(Parser):
    """Parses a Python file as a page."""

    supported = ("program",)

    def parse(self, inputstring, document):
        """Fill the document of a page."""
        lines = "\n".join(inputstring) if isinstance(inputstring, StringList) else inputstring
        section = nodes.section(ids=["program"], names=["program"])
        section += nodes.title("", PurePath(document["source"]).name)
        section += nodes.literal_block(lines, lines, language="python")
        document += section


def setup(app):
    """Register with Sphinx."""
    app.add_source_parser(ProgramParser)
    return {"parallel_read_safe": True}
