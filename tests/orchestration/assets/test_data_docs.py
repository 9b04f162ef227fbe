"""Data docs hold what was validated last of every cell, are whole at any time, and load nothing."""

import json
import re
from html import unescape
from pathlib import Path

import pytest

from emergence_assets.activations.spec import ACTIVATIONS as CAPTURED
from emergence_assets.emergence.claims.spec import CLAIMS
from emergence_assets.orchestration.assets.checks import CheckResult
from emergence_assets.orchestration.assets.data_docs import INDEX_NAME, record_validation, recorded
from emergence_assets.orchestration.assets.data_docs_pages import words
from emergence_assets.pipeline import SPECS
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.study.load import parse_study
from resources.files.plain_yaml import read_yaml
from resources.files.storage import Storage
from resources.tables.check import Check, Condition, Finding, between
from tests.conftest import TINY

FINITE = Check("activations_are_finite", "No value is <NaN>.", (between("nan_count", 0, 0),))
VARY = Check("activations_vary", "They differ.", (between("variance", 0, strict=True),), blocking=False)

CELLS = [Cell("gloss", step, layer) for step in (0, 8) for layer in (0, 1)]


def plan(data: Path) -> Plan:
    study = parse_study(read_yaml(TINY))
    return Plan(study, Storage(data, study.name), SPECS)


def found(*failed: Cell) -> list[CheckResult]:
    """Verdicts of two checks, of which the first fails in some cells."""
    names = frozenset(map(str, failed))
    details = ("nan_count: 1 rows break it, among them [<3>]",) if failed else ()
    return [
        CheckResult(Finding(FINITE, not failed, tuple(range(len(failed))), details), names),
        CheckResult(Finding(VARY, True, (), ()), frozenset()),
    ]


def test_a_page_names_the_check_that_fails_with_its_cells_and_what_was_found(tmp_path: Path) -> None:
    page = record_validation(plan(tmp_path), CAPTURED, CELLS, found(CELLS[1]), "r1")
    text = page.read_text(encoding="utf-8")
    assert "failed (error)" in text
    assert str(CELLS[1]) in text
    assert "<3>" not in text, "what was found is no markup"
    assert "among them [<3>]" in unescape(text)
    index = (page.parent / INDEX_NAME).read_text(encoding="utf-8")
    assert "activations_are_finite" in index
    assert 'href="activations.html"' in index


def test_a_validation_takes_the_place_of_earlier_ones_of_its_cells_alone(tmp_path: Path) -> None:
    storage = Storage(tmp_path, "tiny")
    record_validation(plan(tmp_path), CAPTURED, CELLS, found(CELLS[0], CELLS[3]), "r1")
    page = record_validation(plan(tmp_path), CAPTURED, CELLS[:2], found(), "r2")
    [record] = recorded(storage)
    newest, earlier = record["validations"]
    assert (newest["run_id"], newest["cells"]) == ("r2", [str(cell) for cell in CELLS[:2]])
    assert (earlier["run_id"], earlier["cells"]) == ("r1", [str(cell) for cell in CELLS[2:]])
    assert earlier["checks"][0]["failed_cells"] == [str(CELLS[3])]
    record_validation(plan(tmp_path), CAPTURED, CELLS, found(), "r3")
    [record] = recorded(storage)
    assert [validation["run_id"] for validation in record["validations"]] == ["r3"]
    assert "failed" not in page.read_text(encoding="utf-8").partition("<body>")[2]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"validations": [{}]}', '{"validations": 3}', "\x00"])
def test_a_record_that_is_damaged_is_made_anew(tmp_path: Path, content: str) -> None:
    storage = Storage(tmp_path, "tiny")
    path = storage.data_docs_folder() / "results" / "activations.json"
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
    record_validation(plan(tmp_path), CAPTURED, CELLS, found(), "r1")
    assert json.loads(path.read_text(encoding="utf-8"))["validations"][0]["run_id"] == "r1"


def test_pages_load_nothing_and_run_nothing(tmp_path: Path) -> None:
    page = record_validation(plan(tmp_path), CAPTURED, CELLS, found(CELLS[0]), "r1")
    for path in (page, page.parent / INDEX_NAME):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?:|<script|@import|url\(", text)
        assert "default-src 'none'" in text


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (between("fvu", 0, 1, strict=True), "fvu > 0 and < 1"),
        (between("step", 0), "step >= 0"),
        (between("p", 0, 1, nullable=True), "p >= 0 and <= 1, or missing"),
        (Condition("ordered", ("lo", "hi")), "lo <= hi"),
        (Condition("unique", ("model", "step")), "model, step unique together"),
        (Condition("one_of", ("grade",), values=("A", "B")), "grade one of A, B"),
    ],
)
def test_conditions_are_put_into_words(condition: Condition, expected: str) -> None:
    assert words(condition) == expected


def test_the_index_is_in_flow_order(tmp_path: Path) -> None:
    for declared in (CLAIMS, CAPTURED):
        record_validation(plan(tmp_path), declared, CELLS[:1], found(), "r1")
    assert [record["asset"] for record in recorded(Storage(tmp_path, "tiny"))] == ["activations", "claims"]
