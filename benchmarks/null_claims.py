"""Statements of grade A or B about families without features, per 1,000 statements."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from scipy.stats import binomtest

from benchmarks.gaussian_rows import replace_rows
from benchmarks.null_families import GAUSSIAN, null_studies
from emergence_assets.emergence.claims.grading import SUPPORTED
from emergence_assets.emergence.claims.table import CLAIMS
from resources.tables.parquet import read_table

N_FAMILIES = 3
AIM = 10
"""Largest number of granted statements per 1,000 about families without features."""


def measure_null_claims(n_families: int = N_FAMILIES) -> dict[str, Any]:
    """Run the studies of every kind of family; a row per kind.

    Args:
        n_families: families of each kind, with seeds from 0.
    """
    counts: dict[str, list[int]] = {}
    for seed in range(n_families):
        with tempfile.TemporaryDirectory() as folder:
            for kind, study in null_studies(Path(folder), seed):
                gaussian = seed if kind.startswith(GAUSSIAN) else None
                granted, stated = granted_statements(study, Path(folder) / "data", gaussian)
                total = counts.setdefault(kind, [0, 0])
                total[0] += granted
                total[1] += stated
                print(json.dumps({"seed": seed, "family": kind, "granted": granted, "stated": stated}), flush=True)
    nulls = [total for kind, total in counts.items() if not kind.startswith("trained")]
    every = {"all without features": [sum(one[i] for one in nulls) for i in (0, 1)]}
    return {kind: _row(*total, is_null=not kind.startswith("trained")) for kind, total in (counts | every).items()}


def granted_statements(study: Path, data: Path, gaussian: int | None = None) -> tuple[int, int]:
    """Run a study; return how many of its statements have grade A or B, and how many there are.

    Statements about lasting latents are left out: they are about no category, and true of every trained network.

    Args:
        study: file of the study.
        data: folder of its data.
        gaussian: seed of Gaussian rows in place of the activations; None keeps these.
    """
    command = [sys.executable, "-m", "emergence_assets.cli.main", "--study", str(study), "--data", str(data), "run"]
    stages = [["--stage", "checkpoints", "--stage", "activations"], []] if gaussian is not None else [[]]
    for number, stage in enumerate(stages):
        if number:
            replace_rows(data / study.stem, gaussian or 0)
        subprocess.run([*command, *stage, "--json"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    claims = read_table(data / study.stem / "tables" / "claims.parquet", CLAIMS).filter(pl.col("kind") != "stability")
    return claims.filter(pl.col("grade").is_in(SUPPORTED)).height, claims.height


def _row(granted: int, stated: int, *, is_null: bool) -> dict[str, Any]:
    bounds = binomtest(granted, stated).proportion_ci()
    row = {
        "per 1,000": round(1000 * granted / stated, 1),
        "95 %": f"{1000 * bounds.low:.1f} to {1000 * bounds.high:.1f}",
        "of": stated,
    }
    return row | ({"aim": f"<= {AIM}", "": "met" if 1000 * granted <= AIM * stated else "missed"} if is_null else {})
