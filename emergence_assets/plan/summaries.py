"""Summaries of stored cells as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell

if TYPE_CHECKING:
    from emergence_assets.plan.plan import Plan


def summaries(spec: AssetSpec, plan: "Plan", cells: Sequence[Cell]) -> pl.DataFrame:
    """Return a frame with a row per cell: its name and the values of its summary."""
    rows = []
    for cell in cells:
        stored = stored_provenance(spec, spec.path(plan.storage, cell))
        rows.append({"cell": str(cell), **(dict(stored.summary) if stored else {})})
    return pl.DataFrame(rows, infer_schema_length=None)
