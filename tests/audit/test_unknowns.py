"""If an input of an audit is missing or odd, the audit reports it as unknown, ends normally, and writes nothing."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.files.provenance import Provenance
from resources.files.records import RECORD_NAME
from tests.audit.audited import audit_of, fingerprints_of
from tests.audit.tampering import SAE_CELL, STEP, flip, shorten
from tests.conftest import TINY, run_emergence

pytestmark = pytest.mark.slow
Change = Callable[[Path], object]


def kinds(found: dict) -> set[str]:
    return {one["kind"] for one in found["findings"]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: shutil.rmtree(data / "dagster"), "there is no event log"),
        (lambda data: (data / "dagster/history/runs/index.db").write_bytes(b"junk" * 5000), "cannot be read"),
        (lambda data: shorten(data / "dagster/history/runs/index.db"), "cannot be read"),
        (lambda data: (data / "dagster/dagster.yaml").write_text("storage: {postgres: {}}"), "no SQLite storage"),
    ],
    ids=["absent", "junk", "cut", "elsewhere"],
)
def test_without_an_event_log_files_are_compared_with_their_records(copy: Path, change: Change, says: str) -> None:
    change(copy)
    before = fingerprints_of(copy)
    found = audit_of(copy)
    (finding,) = found["findings"]
    assert finding["kind"] == "unrecorded"
    assert says in finding["reason"]
    flip(copy / "tiny/tables/claims.parquet", 100)
    assert kinds(audit_of(copy)) == {"unrecorded", "altered"}
    traced = run_emergence(copy, "audit", "claims/1", "--json")
    assert traced.returncode == 1, "the table is damaged, and that is said"
    shutil.copyfile(copy / "tiny/tables/cost_utility.parquet", copy / "tiny/tables/claims.parquet")
    traced = run_emergence(copy, "audit", "sae", "--where", "model=gloss-tiny,step=3,layer=1", "--json")
    assert says in json.loads(traced.stdout)["event_log"]
    changed = {name for name, value in fingerprints_of(copy).items() if value != before.get(name)}
    assert changed == {"tiny/tables/claims.parquet"}


def test_a_data_folder_may_be_moved(copy: Path, tmp_path: Path) -> None:
    moved = copy.rename(tmp_path / "elsewhere")
    assert audit_of(moved)["findings"] == []


def test_another_instance_knows_nothing_of_the_files(copy: Path, tmp_path: Path) -> None:
    found = audit_of(copy, home=tmp_path / "another")
    assert kinds(found) == {"unrecorded"}


def test_events_without_files_are_missing_files(copy: Path) -> None:
    shutil.rmtree(copy / "tiny")
    (copy / "tiny").mkdir()
    found = audit_of(copy)
    assert kinds(found) == {"missing"}
    assert all("run " in one["reason"] for one in found["findings"])


def test_an_empty_folder_is_all_missing_and_an_absent_one_is_refused(tmp_path: Path) -> None:
    refused = run_emergence(tmp_path, "audit", "--verify")
    assert (refused.returncode, "Nothing of this study is stored" in refused.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_clock_that_was_set_back_is_noted_and_no_finding_of_its_own(copy: Path) -> None:
    path = copy / "tiny/saes" / STEP / "layer=001" / RECORD_NAME
    stored = Provenance.from_json(path.read_text(), path)
    path.write_text(
        Provenance(stored.required, stored.summary, stored.environment, "2001-01-01T00:00:00+00:00").to_json()
    )
    found = audit_of(copy)
    assert any("a clock was set back" in note and f"sae {SAE_CELL}" in note for note in found["notes"])
    assert kinds(found) == {"forked"}, "the event tells of a file of another date"


def test_a_run_in_progress_is_noted(copy: Path) -> None:
    holder = copy / "tiny/locks/run.lock.holder"
    holder.write_text("process 1 on elsewhere")
    found = audit_of(copy)
    assert found["findings"] == []
    assert any("a run is working on this data" in note for note in found["notes"])


def test_a_study_of_the_same_name_with_other_settings_is_stale_and_named(copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(TINY.read_text().replace("n_latents: 32", "n_latents: 48"))
    finished = run_emergence(copy, "audit", "--verify", "--json", study=other)
    found = json.loads(finished.stdout)
    causes = [one for one in found["findings"] if not one["because"]]
    assert kinds(found) == {"stale"}
    assert {one["asset"] for one in causes} >= {"sae"}
    assert all("32" in one["reason"] and "48" in one["reason"] for one in causes if one["asset"] == "sae")


def test_an_event_of_an_asset_that_is_no_more_is_orphaned(copy: Path) -> None:
    connection = sqlite3.connect(copy / "dagster/history/runs/index.db")
    connection.execute(
        'UPDATE event_logs SET asset_key = \'["tiny", "gloss-old", "probe"]\' WHERE asset_key LIKE \'%"cost_utility"]\''
    )
    connection.commit()
    connection.close()
    found = audit_of(copy)
    assert [(one["kind"], one["asset"], one["cell"]) for one in found["findings"]] == [
        ("orphaned", "probe", "gloss-old"),
        ("unrecorded", "cost_utility", "all models"),
    ]


def test_files_that_cannot_be_read_are_named(copy: Path) -> None:
    path = copy / "tiny/tables/claims.parquet"
    path.unlink()
    path.mkdir()
    found = audit_of(copy)
    assert any(one["path"] == str(path) for one in found["findings"])


@pytest.mark.parametrize("fill", [b"", b"\0" * 5000, b"{}", b"PAR1" * 9])
def test_any_file_may_hold_anything(copy: Path, fill: bytes) -> None:
    """Every file of every kind is replaced; the audit ends, and reports each."""
    replaced = set()
    for asset_file in sorted((copy / "tiny").rglob("*")):
        kind = (asset_file.parent.parent.name, asset_file.suffix)
        if asset_file.is_file() and asset_file.suffix not in (".lock", ".holder") and kind not in replaced:
            replaced.add(kind)
            asset_file.write_bytes(fill)
    found = audit_of(copy)
    assert "altered" in kinds(found)
    assert len([one for one in found["findings"] if not one["because"]]) > 8


def test_evicted_rows_are_no_finding(copy: Path) -> None:
    from emergence_assets.activations.files.storage_state import evict_rows

    evict_rows(copy / "tiny/activations" / STEP / "layer=001.h5")
    assert audit_of(copy)["findings"] == []
