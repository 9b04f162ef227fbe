"""Groups keep the order of their rows: polars returns them in random order, and sums differ in the last bit."""

import ast
from pathlib import Path

import pytest

import emergence_assets
import resources

ROOTS = [Path(str(package.__file__)).parent for package in (emergence_assets, resources)]


def unordered(source: str) -> list[int]:
    """Return the lines of calls of `group_by` without `maintain_order=True`."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "group_by"
        and not any(
            word.arg == "maintain_order" and isinstance(word.value, ast.Constant) and word.value.value is True
            for word in call.keywords
        )
    ]


@pytest.mark.parametrize("root", ROOTS, ids=[root.name for root in ROOTS])
def test_every_grouping_keeps_its_order(root: Path) -> None:
    found = {str(path.relative_to(root)): unordered(path.read_text(encoding="utf-8")) for path in root.rglob("*.py")}
    assert found
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_a_grouping_without_order_is_found() -> None:
    assert unordered("frame.group_by('a').agg()\nframe.group_by('b', maintain_order=False).len()") == [1, 2]
