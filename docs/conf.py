"""The site of these pages: `make docs-site` builds it from README.md and docs/ with Sphinx.

The root of the repository is the source folder, so that links between README.md, pages and source files are the same on
the site as in the repository; a linked source file is copied.
"""

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

SECTIONS = {
    "Start": ["Introduction <self>", "docs/tutorial"],
    "Guides": [
        "docs/checkpoints",
        "docs/probe-sets",
        "docs/corpora",
        "docs/saes",
        "docs/python",
        "docs/storage",
        "docs/many-machines",
        "docs/audit",
        "docs/provenance",
    ],
    "Reference": ["docs/method", "docs/vocabulary", "docs/tables", "docs/activation-format"],
    "Results": ["docs/measurements"],
    "Development": ["docs/extending", "docs/testing"],
}
"""The navigation. A page that is not in it is a warning, and the build fails."""

project = "Emergence assets"
extensions = ["myst_parser"]
root_doc = "README"
source_suffix = {".md": "markdown"}
include_patterns = ["README.md", "docs/*.md"]
exclude_patterns = [".*", "artefacts", "benchmarks", "build", "data", "site", "tests"]  # large folders, not searched
myst_heading_anchors = 4
highlight_language = "none"
smartquotes = False  # what is typed has two hyphens
html_theme = "furo"
html_title = project
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_use_index = False


def complete(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Add the navigation to the introduction, and make names of pages in a text links to them."""
    pages = "|".join(Path(page).name for pages in SECTIONS.values() for page in pages if page.startswith("docs/"))
    source[0] = re.sub(rf"(?<!\[)(`(?:docs/)?({pages})\.md`)", r"[\1](/docs/\2.md)", source[0])
    if docname == root_doc:
        for caption, entries in SECTIONS.items():
            source[0] += "\n".join(["\n```{toctree}", ":hidden:", f":caption: {caption}\n", *entries, "```\n"])


def add_index(app: Sphinx, error: Exception | None) -> None:
    """Copy the introduction to the name that web servers look for."""
    if error is None:
        shutil.copyfile(Path(app.outdir, f"{root_doc}.html"), Path(app.outdir, "index.html"))


def setup(app: Sphinx) -> None:
    """Connect the functions of this file to Sphinx."""
    app.connect("source-read", complete)
    app.connect("build-finished", add_index)
