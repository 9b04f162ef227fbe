"""Docstrings and comments name files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for folder in ("emergence_assets", "resources", "scripts") for path in (ROOT / folder).rglob("*.py")
)
FILES = [f"/{path.relative_to(ROOT).as_posix()}" for path in ROOT.rglob("*.py") if ".venv" not in path.parts]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(source: Path) -> None:
    named = re.findall(r"`([\w/]+\.py)(?::\w+)?`", source.read_text(encoding="utf-8"))
    missing = [name for name in named if not any(file.endswith(f"/{name}") for file in FILES)]
    assert missing == []
