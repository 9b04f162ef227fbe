"""`emergence audit --verify`: a clean study has no finding, and everything that was done to one is named."""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from emergence_assets.audit.events import open_event_log
from emergence_assets.audit.verify import verify_study
from emergence_assets.pipeline import rules_for
from emergence_assets.plan import Plan
from emergence_assets.study import load_study
from resources.storage import Storage
from tests.audit.tampering import TAMPERINGS, is_named, told
from tests.conftest import TINY, run_emergence

pytestmark = pytest.mark.slow


def audit_of(data: Path, home: Path | None = None) -> dict[str, Any]:
    """What an audit says of the tiny study in a data folder."""
    study = load_study(str(TINY))
    plan = Plan(study, Storage(data, study.name), rules_for(study))
    with open_event_log(home or data / "dagster", study.name) as events:
        return verify_study(plan, events).as_dict()


def fingerprints_of(folder: Path) -> dict[str, str]:
    """Every file with its content and time."""
    return {
        str(path.relative_to(folder)): f"{sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def copy(finished_study: Path, tmp_path: Path) -> Path:
    """The finished study in a data folder of one's own."""
    return shutil.copytree(finished_study, tmp_path / "data")


def test_a_clean_study_has_no_finding_and_nothing_is_changed(finished_study: Path) -> None:
    before = fingerprints_of(finished_study)
    finished = run_emergence(finished_study, "audit", "--verify", "--json")
    found = json.loads(finished.stdout)
    assert (finished.returncode, found["findings"], found["notes"]) == (0, [], [])
    assert found["n_cells"] > 70
    assert fingerprints_of(finished_study) == before


@pytest.mark.parametrize("name", TAMPERINGS)
def test_what_was_done_is_named(copy: Path, name: str) -> None:
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
