"""How Sphinx builds the documentation: ``make docs`` writes it to build/docs.

The source folder is the whole repository, so that a link such as ``../examples/copy-task.py`` leads to a page here and
to a file on GitHub. Which files are pages, ``include_patterns`` says. The pages are Markdown (MyST), notebooks, which
are shown with the outputs that are stored in them, and programs.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "extensions"), str(ROOT / "scripts")]

import ntm  # noqa: E402

project = "ntm-lasagne"
author = "the ntm-lasagne authors"
copyright = author
version = release = ntm.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    # docs/extensions
    "contents",
    "mathml",
    "programs",
    "reference_pages",
]

root_doc = "docs/README"
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".py": "program"}
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/**.md",
    "notebooks/*.ipynb",
    "examples/*.py",
    "benchmarks/*.md",
    "models/README.md",
    "tests/data/oracles/README.md",
]
# Folders that are large or hold copies: Sphinx does not walk through them
exclude_patterns = [".*", "build", "dist", "runs", "**/.ipynb_checkpoints", "scratch"]

# Markdown
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4  # the anchors that GitHub gives to headings
myst_links_external_new_tab = False
nb_execution_mode = "off"
highlight_language = "none"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Docstrings: NumPy style. Names in single backticks are links if there is such a name.
default_role = "py:obj"
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
nitpicky = True
nitpick_ignore_regex = [("py:obj", ".*"), ("py:.*", r"(abc|logging|numpy|pytensor|jax)\b.*")]

html_theme = "furo"
html_title = f"ntm-lasagne {version}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False
