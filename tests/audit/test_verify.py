"""`emergence audit --verify`: a clean study has no finding, and every kind of tampering is named."""

import json
from pathlib import Path

import pytest

from tests.audit.audited import audit_of, fingerprints_of
from tests.audit.tampering import TAMPERINGS, is_named, told
from tests.conftest import run_emergence

pytestmark = pytest.mark.slow


def test_a_clean_study_has_no_finding_and_nothing_is_changed(finished_study: Path) -> None:
    before = fingerprints_of(finished_study)
    finished = run_emergence(finished_study, "audit", "--verify", "--json")
    found = json.loads(finished.stdout)
    assert (finished.returncode, found["findings"], found["notes"]) == (0, [], [])
    assert found["n_cells"] > 70
    assert fingerprints_of(finished_study) == before


@pytest.mark.parametrize("name", TAMPERINGS)
def test_every_kind_of_tampering_is_named(copy: Path, name: str) -> None:
    tampering = TAMPERINGS[name]
    tampering.do(copy / "tiny")
    found = audit_of(copy)
    assert is_named(tampering, found["findings"]), told(found["findings"])


def test_a_finding_ends_the_command_with_code_1(copy: Path) -> None:
    (copy / "tiny/tables/claims.parquet").unlink()
    finished = run_emergence(copy, "audit", "--verify")
    assert finished.returncode == 1
    assert "missing" in finished.stdout
    assert "tables/claims.parquet" in finished.stdout
