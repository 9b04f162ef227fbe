"""What a worker needs to run the last checkpoint of a model again, with its SAEs and chosen latents, as plain values.

Read when Dagster loads the definitions: what is slow to import is imported by functions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emergence_assets.activations.spec import ACTIVATIONS, capture_arguments
from emergence_assets.emergence.table_spec import key_columns
from emergence_assets.features.spec import LATENT_STATISTICS, presence_cells_path
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.saes.spec import SAE
from resources.files.provenance import Required, canonical_json
from resources.tables.parquet import read_table


def last_checkpoint_arguments(plan: Plan, cell: Cell, required: Required) -> dict[str, Any]:
    """Arguments origin, keys, files (by block) and probes of a worker, for a table of one model.

    Raises:
        EmergenceError: the model has no checkpoint.
    """
    checkpoint = Cell(cell.model, plan.steps_of(str(cell.model))[-1])
    layers = {layer: Cell(*checkpoint[:2], layer) for layer in plan.study.layers_of(str(cell.model)) if layer >= 0}
    keys = key_columns(plan, LATENT_STATISTICS, Cell(*checkpoint[:2], min(layers)))
    return {
        "origin": capture_arguments(plan, checkpoint, ACTIVATIONS.recipe(plan.study, plan.storage, checkpoint) or {}),
        "keys": {name: keys[name] for name in keys if name != "layer"} | {"data_version": required.fingerprint},
        "files": {
            str(layer): {
                "activations": str(ACTIVATIONS.path(plan.storage, source)),
                "saes": str(SAE.path(plan.storage, source)),
                "presence": str(presence_cells_path(plan.storage, source)),
            }
            for layer, source in layers.items()
        },
        "probes": canonical_json(plan.study.probe_set.model_dump()),
    }


def chosen_latents(files: Mapping[str, Mapping[str, str]], level: str) -> Any:
    """Rows of `presence_cells` of one level, the measurement itself, with the column layer and without replicates."""
    import polars as pl

    from emergence_assets.features.table import PRESENCE_CELLS

    parts = [
        read_table(Path(place["presence"]), PRESENCE_CELLS).with_columns(layer=pl.lit(int(layer), pl.Int16))
        for layer, place in files.items()
    ]
    rows = pl.concat(parts).drop("replicates")
    return rows.filter((pl.col("control_id") == "none") & (pl.col("category_level") == level))
