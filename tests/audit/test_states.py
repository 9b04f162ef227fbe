"""Two states of a study: a copy has no difference, and every change is reported with its cause."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emergence_assets.emergence.claims.table import CLAIMS
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
from resources.files.provenance import Provenance, Required
from resources.files.storage import Storage
from resources.tables.parquet import parquet_provenance, read_table, write_table
from resources.tables.table import Table
from tests.conftest import copied, run_emergence

pytestmark = pytest.mark.slow


def difference(first: Path, second: Path) -> tuple[int, dict[str, Any]]:
    ended = run_emergence(first, "audit", "--diff", str(first), str(second), "--json")
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


@pytest.fixture
def other(finished_study: Path, tmp_path: Path) -> Path:
    """A copy that the test changes."""
    return copied(finished_study, tmp_path / "other")


def rewrite(path: Path, table: Table, frame: pl.DataFrame, **required: Any) -> None:
    """Write another frame, made from other inputs."""
    record = parquet_provenance(path)
    assert record is not None
    changed = Required(**(vars(record.required) | required))
    write_table(path, frame, table, Provenance(changed, record.summary, record.environment, record.created).to_json())


def test_a_copy_is_the_same(finished_study: Path, other: Path) -> None:
    code, found = difference(finished_study, other)
    assert (code, found["same"]) == (0, True)
    assert not any(found[name] for name in ("settings", "code", "environment", "inputs", "tables", "grades"))
    assert "nothing changed" in run_emergence(other, "audit", "--diff", str(finished_study), str(other)).stdout


def test_changed_numbers_are_listed_with_their_keys(finished_study: Path, other: Path) -> None:
    path = Storage(other, "tiny").model_table("category_presence", "gloss-tiny")
    frame = read_table(path, CATEGORY_PRESENCE)
    is_one = (pl.col("step") == 3) & (pl.col("layer") == 1) & (pl.col("control_id") == "none")
    moved = frame.with_columns(p_dense=pl.col("p_dense") - pl.when(is_one).then(0.25).otherwise(0.0).cast(pl.Float32))
    rewrite(path, CATEGORY_PRESENCE, moved.head(-1), recipe={"n": 2}, code_version="other")
    code, found = difference(finished_study, other)
    assert (code, found["same"]) == (1, False)
    [change] = found["tables"]
    assert (change["table"], change["added"], change["removed"]) == ("category_presence", 0, 1)
    assert change["changed"] == pytest.approx(frame.filter(is_one).height, abs=1)
    assert {one["column"] for one in change["largest"]} == {"p_dense"}
    assert all((one["key"]["step"], one["key"]["layer"]) == (3, 1) for one in change["largest"])
    assert change["largest"][0]["before"] - change["largest"][0]["after"] == pytest.approx(0.25, abs=1e-5)
    assert found["settings"]["category_presence"]["n"] == [None, 2]
    assert found["code"]["category_presence"][1] == "other"
    assert found["cells"]["category_presence"] == {"same": 1, "changed": 1}


def test_a_claim_with_another_grade_is_listed(finished_study: Path, other: Path) -> None:
    path = Storage(other, "tiny").study_table("claims")
    frame = read_table(path, CLAIMS)
    grade = pl.when(pl.col("claim_id") == 2).then(pl.lit("A")).otherwise(pl.col("grade"))
    rewrite(path, CLAIMS, frame.with_columns(grade=grade))
    code, found = difference(finished_study, other)
    assert code == 1
    [changed] = found["grades"]
    assert (changed["before"], changed["after"]) == (frame["grade"][1], "A")
    assert changed["statement"] == frame["statement"][1]


def test_missing_and_damaged_files_are_counted(finished_study: Path, other: Path) -> None:
    storage = Storage(other, "tiny")
    storage.cell_table("latent_stats", "gloss-tiny", 3, 1).unlink()
    damaged = storage.model_table("reactivation", "gloss-tiny")
    damaged.write_bytes(damaged.read_bytes()[:100])
    code, found = difference(finished_study, other)
    assert code == 1
    assert found["cells"]["latent_stats"]["removed"] == 1
    assert found["cells"]["reactivation"]["damaged"] == 1
    assert [one["problem"] != "" for one in found["tables"] if one["table"] == "reactivation"] == [True]
