"""Stored against repeated results: equal files are equal, and every kind of difference has a name and a size."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import safetensors.numpy

from emergence_assets.audit.comparison import Difference, compare
from resources.errors import EmergenceError
from resources.files.provenance import Required
from resources.files.records import write_folder_record, write_record
from resources.tables.parquet import write_table
from tests.activations.files.sample_file import SAMPLE_ATTRS, sample_rows, write
from tests.resources.tables.test_parquet import RECORD, TABLE, frame

REQUIRED = Required("sae", "m/step000008/L01", {"k": 16}, {}, "c0de")


def make(folder: Path, change: str = "") -> Path:
    """Make a folder with every kind of file; make it again with one change."""
    folder.mkdir(parents=True)
    table = frame()
    if change == "number":
        table = table.with_columns(p_best=pl.col("p_best") + pl.when(pl.col("step") == 5).then(0.25).otherwise(0.0))
    elif change == "list":
        table = table.with_columns(replicates=pl.col("replicates").list.eval(pl.element() + 1))
    elif change == "text":
        table = table.with_columns(category=pl.col("category") + "x")
    elif change == "undefined":
        table = table.with_columns(p_best=pl.lit(None, pl.Float64))
    elif change == "rows":
        table = table.head(49)
    write_table(folder / "t.parquet", table, TABLE, RECORD)
    rows = sample_rows()
    if change == "rows of a layer":
        rows["read_out"] = rows["read_out"] + np.float32(0.5)
    write(folder / "l.h5", rows, "float32", SAMPLE_ATTRS)
    (folder / "seed=0").mkdir()
    w = np.arange(6, dtype=np.float32) + (0.5 if change == "weights" else 0)
    safetensors.numpy.save_file({"W": w}, folder / "seed=0" / "sae.safetensors")
    loss = 1.5 if change == "a record's number" else 1.0
    write_record(folder / "r.json", REQUIRED, {"loss": loss, "tokens_per_second": len(change)})
    (folder / "metrics.json").write_text(json.dumps({"seeds": [{"fvu": 0.2 if change == "metric" else 0.1}]}))
    (folder / "chart.png").write_bytes(b"new" if change == "picture" else b"old")
    write_folder_record(folder, REQUIRED, {})
    if change == "lost":
        (folder / "chart.png").unlink()
    if change == "added":
        (folder / "more.png").touch()
    return folder


def test_equal_results_are_equal_whatever_their_date(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    record = json.loads((second / "r.json").read_text())
    (second / "r.json").write_text(json.dumps(record | {"created": "2001-01-01", "environment": {"run_id": "other"}}))
    assert compare(first, second, first) == []
    assert compare(first / "absent", second / "absent", first) == []


CHANGES: dict[str, tuple[str, str, Callable[[Difference], bool]]] = {
    "number": ("t.parquet", "p_best", lambda one: (one.n_differing, one.largest) == (1, pytest.approx(0.25))),
    "list": ("t.parquet", "replicates", lambda one: one.largest == 1.0),
    "text": ("t.parquet", "category", lambda one: one.n_differing == 50),
    "undefined": ("t.parquet", "p_best", lambda one: one.largest is None),
    "rows": ("t.parquet", "", lambda one: "50 rows and 49" in one.what),
    "rows of a layer": ("l.h5", "read_out", lambda one: one.largest == 0.5),
    "weights": ("seed=0/sae.safetensors", "W", lambda one: (one.largest, one.relative) == (0.5, 0.1)),
    "a record's number": ("r.json", "loss", lambda one: one.largest == 0.5),
    "metric": ("metrics.json", "seeds.0.fvu", lambda one: one.largest == pytest.approx(0.1)),
    "picture": ("chart.png", "", lambda one: one.what == "other bytes"),
    "lost": ("chart.png", "", lambda one: one.what == "stored and not made again"),
    "added": ("more.png", "", lambda one: one.what == "made again and not stored"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_difference_is_named_with_its_size(tmp_path: Path, change: str) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b", change)
    path, name, is_told = CHANGES[change]
    found = compare(first, second, first)
    assert [(one.path, one.name) for one in found] == [(path, name)]
    assert is_told(found[0])


@pytest.mark.parametrize("name", ["t.parquet", "l.h5", "seed=0/sae.safetensors", "metrics.json"])
def test_a_damaged_file_is_no_difference_but_an_error(tmp_path: Path, name: str) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    content = (second / name).read_bytes()
    (second / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(EmergenceError):
        compare(first / name, second / name, first)


def test_names_are_those_in_the_study(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a" / "tables"), make(tmp_path / "b" / "tables", "picture")
    shutil.rmtree(second / "seed=0")
    assert {one.path for one in compare(first, second, tmp_path / "a")} == {
        "tables/chart.png",
        "tables/seed=0/sae.safetensors",
    }
