"""What it costs to record where results come from: once per process, once per run, and for every cell."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.pipeline import specs_for
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.content_hash import seal
from emergence_assets.plan.run_metadata import origin_of_run
from emergence_assets.study.load import load_study
from resources import git_commit as checkouts
from resources.environment import made_for
from resources.files.provenance import Required
from resources.files.records import record_of
from resources.files.storage import Storage
from resources.git_commit import checkout
from resources.tables.parquet import write_table

N_CALLS = 200


def measure_provenance_cost() -> dict[str, Any]:
    """Seconds for the commit, milliseconds for a run's origin, a cell's record and the seal of a table."""
    study = load_study("default")
    checkouts._checkout.cache_clear()
    began = time.perf_counter()
    checkout()
    figures: dict[str, Any] = {"commit, once per process, s": time.perf_counter() - began}
    figures["origin, once per run, ms"] = _milliseconds(lambda: origin_of_run("run", study))
    required = Required("category_presence", "m", {"k": 16}, {f"latent_stats m/{n}": "0" * 32 for n in range(100)}, "c")
    with made_for(origin_of_run("run", study)), tempfile.TemporaryDirectory() as folder:
        figures["record of a cell, ms"] = _milliseconds(lambda: record_of(required, {"rows": 1}).to_json())
        figures["record of a cell, bytes"] = len(record_of(required, {"rows": 1}).to_json())
        storage, table = Storage(Path(folder), study.name), _table()
        spec = next(spec for spec in specs_for(study) if spec.name == "category_presence")
        path = spec.path(storage, Cell("m"))
        frame = pl.DataFrame({"x": [float(n) for n in range(100_000)]})
        write_table(path, frame, table, record_of(required, {"rows": 1}).to_json())
        figures["seal of a table of 100,000 rows, ms"] = _milliseconds(lambda: seal(spec, storage, Cell("m")))
    return figures


def _table() -> Any:
    from resources.tables.table import Column, Table

    return Table("numbers", "one row per number", (Column("x", pl.Float64, "a number"),), ("x",))


def _milliseconds(call: Callable[[], object]) -> float:
    call()
    began = time.perf_counter()
    for _ in range(N_CALLS):
        call()
    return 1000 * (time.perf_counter() - began) / N_CALLS
