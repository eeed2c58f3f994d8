"""Programs as pages: the first line of the docstring is the title, then comes the whole program."""

import ast

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.parsers import Parser


class ProgramParser(Parser):
    """Parses a Python file as a page."""

    supported = ("program",)

    def parse(self, inputstring, document):
        """Fill the document of a page."""
        lines = "\n".join(inputstring) if isinstance(inputstring, StringList) else inputstring
        title = (ast.get_docstring(ast.parse(lines)) or "").partition("\n")[0].rstrip(".")
        section = nodes.section(ids=["program"], names=["program"])
        section += nodes.title("", title)
        section += nodes.literal_block(lines, lines, language="python")
        document += section


def setup(app):
    """Register with Sphinx."""
    app.add_source_parser(ProgramParser)
    return {"parallel_read_safe": True}
