"""A result of a finished study is made again: equal bit for bit; a forged result is not reproduced."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
from emergence_assets.study.load import load_study
from resources.files.storage import Storage
from resources.tables.parquet import read_table, table_provenance, write_table
from tests.conftest import TINY, copied, run_emergence

pytestmark = pytest.mark.slow
ROW = ("category_presence", "--where", "model=gloss-tinier,layer=0,step=3")


def contents(folder: Path) -> dict[str, str]:
    """Read all files of a study except locks."""
    found = (
        path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".lock", ".db-shm", ".db-wal")
    )
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in found}


def reproduce(data: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    ended = run_emergence(data, "audit", "--reproduce", "--json", *arguments)
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


@pytest.fixture
def presence(finished_study: Path) -> str:
    """Address a row of a table by the columns of its lineage id."""
    study = load_study(str(TINY))
    frame = pl.read_parquet(Storage(finished_study, study.name).model_table("category_presence", "gloss-tinier"))
    return str(frame["category"].sort()[0])


@pytest.mark.long
def test_a_number_of_one_cell_is_made_again_from_its_cell_alone(finished_study: Path, presence: str) -> None:
    before = contents(finished_study)
    code, found = reproduce(finished_study, *ROW[:2], f"{ROW[2]},category={presence}")
    assert (code, found["agrees"]) == (0, True)
    again = {(one["asset"], one["cell"]) for one in found["cells"]}
    cell = "gloss-tinier/step000003/L00"
    assert again == {(name, cell) for name in ("activations", "sae", "latent_stats")} | {
        ("category_presence", "gloss-tinier")
    }
    assert all(one["equal"] and one["promised"] for one in found["cells"])
    assert found["given"]["checkpoint"] == 4
    assert contents(finished_study) == before
    assert not Path(found["folder"]).exists()


def test_a_claim_is_made_again_from_training_on(finished_study: Path, tmp_path: Path) -> None:
    code, found = reproduce(finished_study, "claims/1", "--from", "training", "--into", str(tmp_path / "again"))
    assert (code, found["from"], found["agrees"]) == (0, "training", True)
    assert {"training_run", "checkpoint", "activations", "sae", "latent_stats", "claims"} <= {
        one["asset"] for one in found["cells"]
    }
    assert all(one["equal"] for one in found["cells"])
    assert (tmp_path / "again" / "tiny" / "tables" / "claims.parquet").exists()
    refused = run_emergence(finished_study, "audit", "--reproduce", "claims/1", "--into", str(tmp_path / "again"))
    assert refused.returncode == 1
    assert "not empty" in refused.stderr


def test_a_forged_number_is_not_reproduced(finished_study: Path, tmp_path: Path, presence: str) -> None:
    data = copied(finished_study, tmp_path / "data")
    storage = Storage(data, "tiny")
    path = storage.model_table("category_presence", "gloss-tinier")
    provenance = table_provenance(path)
    assert provenance is not None
    forged = read_table(path, CATEGORY_PRESENCE).with_columns(p_dense=pl.col("p_dense") * 0.5)
    write_table(path, forged, CATEGORY_PRESENCE, provenance)
    code, found = reproduce(data, *ROW[:2], f"{ROW[2]},category={presence}")
    assert (code, found["agrees"]) == (1, False)
    told = [(one["asset"], other["name"]) for one in found["cells"] for other in one["differences"]]
    assert told == [("category_presence", "p_dense")]
    shown = run_emergence(data, "audit", "--reproduce", *ROW[:2], f"{ROW[2]},category={presence}")
    assert shown.returncode == 1
    assert "not reproduced" in shown.stdout
    assert "p_dense: other numbers" in shown.stdout.replace("\n", " ")


def test_a_cell_outside_the_study_is_refused_with_its_commit(finished_study: Path, tmp_path: Path) -> None:
    study = tmp_path / "tiny.yaml"
    study.write_text(TINY.read_text().replace("n_shuffles: 4", "n_shuffles: 5"))
    ended = run_emergence(finished_study, "audit", "--reproduce", "claims/1", study=study)
    assert ended.returncode == 1
    assert "is stale" in ended.stderr
    assert "it was made at commit" in ended.stderr
