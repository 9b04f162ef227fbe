"""Measure k-sparse probes of one model at its first and last step."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.emergence.controls.best_layers import layers_of_claims
from emergence_assets.emergence.sparse_probes.probes import sparse_probe_auroc
from emergence_assets.emergence.sparse_probes.table import SPARSE_PRESENCE
from emergence_assets.features.statistics.cell_tables import CellRecipe
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.encoded import encoded, random_encoders, stored_read_outs
from emergence_assets.features.statistics.probe_labels import cell_labels
from emergence_assets.plan.table_worker import Made, key_columns
from emergence_assets.saes.formats.folder import read_sae
from emergence_assets.saes.spec import seed_folder

SIZES = (1, 2, 4, 8, 16)
"""Latents per probe."""


def measure_sparse_probes(
    cells: Sequence[Mapping[str, Any]],
    category_presence: pl.DataFrame,
    probes: str,
    settings: Mapping[str, Any],
    report: Any,
) -> Made:
    """Make the rows of `sparse_presence`, each level in its best layer; random encoders are as many as SAE seeds.

    Args:
        cells: layers of all checkpoints of the model, see `input_cells`.
        category_presence: `category_presence` of the model; source of the best layers and of the dense probe.
        probes: JSON of the probe set.
        settings: sections statistics and sae of the study.
        report: called with cells done, all cells, and a note.
    """
    recipe, layers = CellRecipe.from_settings(settings["statistics"]), layers_of_claims(category_presence)
    ends = {min(cell["step"] for cell in cells), max(cell["step"] for cell in cells)}
    read = [cell for cell in cells if cell["step"] in ends and cell["layer"] in layers.values()]
    frames = [SPARSE_PRESENCE.schema_without("gap", "p_dense").to_frame()]
    for position, cell in enumerate(read):
        own = [
            level
            for level in cell_labels(probes, Path(cell["tokens_file"]))
            if layers.get(level.level) == cell["layer"]
        ]
        for control_id, dictionaries in _dictionaries(cell, settings):
            for level in own:
                kept = np.flatnonzero(level.is_usable(recipe.min_texts_per_split))
                each = [sparse_probe_auroc(one, level, kept, SIZES, recipe.ridge_strength) for one in dictionaries]
                rows = {
                    "control_id": control_id,
                    "category_level": level.level,
                    "category": np.repeat([level.categories[c] for c in kept], len(SIZES)),
                    "n_latents_read": np.tile(SIZES, len(kept)),
                    "p_sparse": np.mean(each, axis=0).ravel(),
                    "n_seeds": len(each),
                }
                frame = pl.DataFrame(rows).with_columns(key_columns(cell))
                frames.append(frame.select(pl.col(name).cast(dtype) for name, dtype in frames[0].schema.items()))
        report(position + 1, len(read), "")
    at = ["step", "layer", "category_level", "category"]
    dense = category_presence.filter(pl.col("control_id") == "none").select(*at, "p_dense")
    table = pl.concat(frames).join(dense, on=at, how="left", validate="m:1")
    table = table.with_columns(gap=pl.col("p_dense") - pl.col("p_sparse"))
    return Made(table.select(SPARSE_PRESENCE.schema.names()).sort(SPARSE_PRESENCE.key), {})


def _dictionaries(cell: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[tuple[str, list[Codes]]]:
    """Yield the codes of the SAEs of a cell, and of as many random encoders."""
    files = {name: Path(file) for name, file in cell["files"].items()}
    read_out_pd = stored_read_outs(files["activations"])
    saes = [read_sae(seed_folder(files["sae"], seed))[0] for seed in settings["sae"]["seeds"]]
    yield "none", [encoded(sae, read_out_pd) for sae in saes]
    drawn = random_encoders(files["activations"], cell["layer"], saes[0].n_latents, settings, len(saes))
    yield "random_encoder", [encoded(one, read_out_pd) for one in drawn]
