"""How long the audit of one number takes at 30,000 cells per asset; aim: 2 s at most, with the start of Python."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.planted_records import Size, plant, planted_study
from emergence_assets.plan.lineage_id import row_id
from resources.files.storage import Storage
from resources.tables.parquet import parquet_provenance

SIZE = Size(n_models=10, n_steps=150, n_layers=20)
ROUNDS = 5


def measure_audit_trace(folder: Path | None = None, size: Size = SIZE) -> dict[str, Any]:
    """Median seconds of the command, by what it is asked.

    Args:
        folder: where the planted study lies or is to lie; a folder of its own that goes afterwards by default.
        size: of the study.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            return measure_audit_trace(Path(temporary), size)
    data, study_file = folder / "data", folder / "planted.yaml"
    if not data.exists():
        plant(data, size)
        study_file.write_text(yaml.safe_dump(planted_study(size).model_dump(mode="json", exclude_defaults=True)))
    claims = parquet_provenance(Storage(data, "planted").study_table("claims"))
    assert claims is not None
    where = f"model=m0,layer={size.n_layers // 2},step={size.n_steps // 2},category=category 7"
    asked = {
        "a row of category_presence": ["category_presence", "--where", where],
        "a claim": ["claims/1"],
        "a claim by its lineage id": [row_id(claims.fingerprint, {"claim_id": 1})],
        "an SAE": ["sae", f"model=m0,layer={size.n_layers // 2},step={size.n_steps // 2}"],
        "--help": ["--help"],
    }
    figures: dict[str, Any] = {"cells per asset": size.n_cells}
    for name, arguments in asked.items():
        taken = [_ask(data, study_file, arguments) for _ in range(ROUNDS)]
        figures[f"{name}, s"] = statistics.median(wall for wall, _ in taken)
        figures[f"{name}, CPU s"] = statistics.median(cpu for _, cpu in taken)
    return figures


def _ask(data: Path, study_file: Path, arguments: list[str]) -> tuple[float, float]:
    """Seconds on the clock, and CPU seconds, which others on the machine do not lengthen."""
    command = [
        sys.executable,
        "-m",
        "emergence_assets.cli.main",
        "--study",
        str(study_file),
        "--data",
        str(data),
        "audit",
    ]
    inherited = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    began, before = time.perf_counter(), _children_cpu()
    subprocess.run([*command, *arguments], check=True, capture_output=True, env=inherited)
    return time.perf_counter() - began, _children_cpu() - before


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
