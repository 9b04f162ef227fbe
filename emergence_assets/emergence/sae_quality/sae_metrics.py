"""The quality of all SAEs of one model as a table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.emergence.sae_quality.table import SAE_METRICS


def sae_metrics(sources: Sequence[Mapping[str, Any]], design: Mapping[str, Any]) -> pl.DataFrame:
    """One row per SAE.

    Args:
        sources: per cell the key columns, and `file`, the metrics that were written beside its SAEs.
        design: n_latents, k, arch and d_model, the same for all cells of a model.
    """
    rows = []
    for source in sources:
        keys = {name: value for name, value in source.items() if name != "file"}
        for seed in json.loads(Path(source["file"]).read_text(encoding="utf-8"))["seeds"]:
            rows.append(
                {
                    **keys,
                    **seed,
                    **design,
                    "rel_depth": (source["layer"] + 1) / source["n_layers"],
                    "expansion": design["n_latents"] / design["d_model"],
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None).select(
        pl.col(name).cast(dtype) for name, dtype in SAE_METRICS.schema.items()
    )
