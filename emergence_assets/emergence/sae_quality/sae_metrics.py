"""Worker of `sae_metrics`: quality of all SAEs of one model."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.emergence.sae_quality.table import SAE_METRICS
from emergence_assets.plan.table_worker import Made
from emergence_assets.saes.spec import METRICS_NAME


def sae_metrics(cells: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Made:
    """Make one row per SAE; see `SAE_METRICS`.

    Args:
        cells: layers with SAEs, see `input_cells`.
        settings: n_latents, k, arch and d_model, common to all SAEs of a model.
    """
    expansion = {"expansion": settings["n_latents"] / settings["d_model"]}
    rows = []
    for cell in cells:
        keys = {name: value for name, value in cell.items() if name != "files"}
        keys["rel_depth"] = (cell["layer"] + 1) / cell["n_layers"]
        measured = json.loads((Path(cell["files"]["sae"]) / METRICS_NAME).read_text(encoding="utf-8"))["seeds"]
        rows += [{**keys, **one, **settings, **expansion} for one in measured]
    frame = pl.DataFrame(rows, infer_schema_length=None).select(
        pl.col(name).cast(dtype) for name, dtype in SAE_METRICS.schema.items()
    )
    return Made(frame, {"mean_fvu": frame["fvu"].mean(), "mean_dead_frac": frame["dead_frac"].mean()})
