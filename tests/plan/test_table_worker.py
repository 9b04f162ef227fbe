"""The worker of tables: arguments of a function, and the files of its result."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emergence_assets.plan.table_worker import Made, key_columns, make_table
from resources.files.provenance import Required
from resources.files.records import required_to_json
from resources.tables.parquet import parquet_provenance, read_table, write_table
from resources.tables.table import Column, Table

SEED = Column("sae_seed", pl.Int16, "seed", "seed", 0)
SHARE = Column("share", pl.Float64, "a share", "ratio", 0, 1)
SHARES = Table("shares", "for tests", (SEED, SHARE), ("sae_seed",))
COUNTED = Table("counted", "for tests", (SEED, SHARE), ("sae_seed",))
REQUIRED = Required("shares", "gloss", {"k": 4}, {}, "code")
FACTS = {"n_params_nonemb": 400, "tokens_seen": 64, "n_layers": 2}
CELL = {"model": "gloss", "step": 1, "layer": 0, "data_version": "9f"} | FACTS


def mean_shares(shares: pl.DataFrame, cells: list[dict[str, Any]], k: int, n_layers: int, fingerprint: str) -> Made:
    assert (k, n_layers, fingerprint, len(cells)) == (4, 2, REQUIRED.fingerprint, 2)
    assert shares["layer"].to_list() == [0, 1]
    assert shares["rel_depth"].to_list() == [0.5, 1]
    assert shares.columns[-1] == "data_version"
    rows = shares.select("sae_seed", "share")
    return Made(rows.head(1), {"mean": 0.25}, {"counted": rows})


def made_from(tmp_path: Path, shares: list[float]) -> Path:
    cells = []
    for layer, share in enumerate(shares):
        file = tmp_path / f"{layer}.parquet"
        write_table(file, pl.DataFrame([[0, share]], SHARES.schema, orient="row"), SHARES, "{}")
        cells.append(CELL | {"layer": layer, "files": {"shares": str(file)}})
    path = tmp_path / "made.parquet"
    make_table(
        "tests.plan.test_table_worker:mean_shares",
        tables={"unread": (SHARES, [str(tmp_path / "missing.parquet")])},
        cells=cells,
        cell_tables=[SHARES],
        arguments={"model": "gloss"},
        facts=FACTS,
        outputs=[(COUNTED, str(tmp_path / "counted.parquet")), (SHARES, str(path))],
        required=required_to_json(REQUIRED),
        report=lambda *_: None,
    )
    return path


def test_a_function_gets_its_parameters_and_facts_are_passed_on(tmp_path: Path) -> None:
    path = made_from(tmp_path, [0.2, 0.4])
    assert read_table(path, SHARES)["share"].to_list() == [0.2]
    assert read_table(tmp_path / "counted.parquet", COUNTED)["share"].to_list() == [0.2, 0.4]
    stored = parquet_provenance(path)
    assert stored is not None
    assert stored.required == REQUIRED
    assert stored.summary.items() >= (FACTS | {"rows": 1, "mean": 0.25}).items()


def test_violations_of_a_table_beside_are_counted_in_the_summary(tmp_path: Path) -> None:
    stored = parquet_provenance(made_from(tmp_path, [0.2, 1.5]))
    assert stored is not None
    # Both rows have seed 0.
    assert [stored.summary[name] for name in ("repeated_keys", "missing_values", "values_out_of_range")] == [2, 0, 1]


def test_key_columns_have_the_types_that_tables_declare() -> None:
    frame = pl.DataFrame({"share": [0.5]}).with_columns(key_columns(CELL))
    assert frame.schema["rel_depth"] == pl.Float32
    assert frame.row(0)[1:] == ("gloss", 400, 1, 64, 0, 2, 0.5, "9f")
    with pytest.raises(KeyError, match="n_layers"):
        key_columns({name: value for name, value in CELL.items() if name != "n_layers"})
