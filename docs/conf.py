"""The settings of Sphinx for the site, which `just docs` builds. The pages are plain Markdown, readable without it."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from pathlib import PurePosixPath

from sphinx.application import Sphinx

project = "Evanesce"
author = "The Evanesce authors"
release = version_of("evanesce")
extensions = ["myst_parser"]
myst_heading_anchors = 4  # links between pages name headings as GitHub does
highlight_language = "none"  # of code blocks that name no language
html_theme = "alabaster"
html_theme_options = {"page_width": "1100px", "sidebar_width": "260px"}
html_copy_source = False


def add_toctree(app: Sphinx, name: str, text: list[str]) -> None:
    """Make the navigation of the site from the links of the index pages; a directive would be noise on GitHub."""
    page = PurePosixPath(name)
    linked = re.findall(r"\]\(([\w/-]+)\.md\)", text[0])
    if page.name == "index" or name == "examples/README":
        text[0] += "\n```{toctree}\n:hidden:\n\n" + "\n".join(dict.fromkeys(linked)) + "\n```\n"


def setup(app: Sphinx) -> None:
    """Connect the navigation."""
    app.connect("source-read", add_toctree)
