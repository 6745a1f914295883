"""How Sphinx builds the site. `python -m tools.site` makes its sources before; see `tools.site.stage`."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

import keyweave
from tools.site.docstrings import with_literal_blocks

project = "Keyweave"
author = copyright = "Keyweave contributors"  # noqa: A001 - the name that Sphinx reads
release = version = keyweave.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
default_role = "code"  # in docstrings `x` is code, as in Markdown

# A link to a heading is checked as GitHub makes its anchor.
myst_heading_anchors = 6
myst_links_external_new_tab = False

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"
autodoc_default_options = {"exclude-members": "__init__"}
napoleon_use_rtype = False  # what stands before a colon under `Returns:` is no type

html_theme = "furo"
html_title = f"Keyweave {release}"
html_copy_source = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Read docstrings before napoleon does, whose priority is the usual 500."""
    app.connect("autodoc-process-docstring", _process, priority=400)


def _process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = with_literal_blocks(lines)
