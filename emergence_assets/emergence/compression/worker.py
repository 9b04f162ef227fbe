"""Worker of `compression_retention`: compress the last checkpoint of a model and measure its features."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.activations.forward.worker import loaded_checkpoint
from emergence_assets.checkpoints.models.fixed_text import fixed_text_loss
from emergence_assets.checkpoints.models.loading import is_causal
from emergence_assets.emergence.compression.compression_retention import Instruments, compression_retention
from emergence_assets.emergence.last_checkpoint import LastCheckpoint
from emergence_assets.features.statistics.cell_tables import CellRecipe
from emergence_assets.plan.table_worker import Made


def compress_model(
    cells: Sequence[Mapping[str, Any]],
    origins: Mapping[int, Mapping[str, Any]],
    probes: str,
    settings: Mapping[str, Any],
    fingerprint: str,
    report: Any,
) -> Made:
    """Make the rows of `compression_retention`: last checkpoint unchanged, compressed, with noise, without a block.

    For the arguments see `LastCheckpoint`.
    """
    last = LastCheckpoint(cells, origins, probes, settings, fingerprint)
    level, compression = last.level, settings["compression"]
    with loaded_checkpoint(last.origin, report) as loaded:
        device, tokenizer = loaded.accelerator.device, loaded.folder / "tokenizer.json"
        instruments = Instruments(
            texts=[loaded.tokens.probe_ids[text] for text in last.score],
            category_p=level.codes_p[last.score],
            kept_c=level.is_usable(CellRecipe().min_texts_per_split),
            weights_pb=last.weights_pb[last.score],
            saes={layer: last.saes(layer, device) for layer in last.files},
            latents=_by_layer(last.chosen_latents(), level.categories),
            loss=lambda model: fixed_text_loss(model, tokenizer) if is_causal(model) else None,
            batch_size=loaded.accelerator.capture_batch,
            device=device,
            blocks_name=last.origin["recipe"]["blocks"],
        )
        frame = compression_retention(
            last.keys,
            level.level,
            loaded.model,
            compression["variants"],
            compression["layer_skip"],
            settings["statistics"]["seed"],
            instruments,
            report,
        )
    measured = frame.filter(pl.col("control_id") == "none", pl.col("layer") == pl.col("layer").max())
    kept = measured.filter(~pl.col("variant").str.starts_with("skip_")).select("variant", "retention").iter_rows()
    return Made(frame, {f"retention_{variant}": retention for variant, retention in kept})


def _by_layer(rows: pl.DataFrame, categories: Sequence[str]) -> dict[int, dict[int, Any]]:
    """Return the latent of every category by layer and seed; -1 for a missing latent."""
    latents: dict[int, dict[int, Any]] = {}
    for row in rows.iter_rows(named=True):
        by_seed = latents.setdefault(row["layer"], {})
        latent_c = by_seed.setdefault(row["sae_seed"], np.full(len(categories), -1))
        if row["latent"] is not None:
            latent_c[categories.index(row["category"])] = row["latent"]
    return latents
