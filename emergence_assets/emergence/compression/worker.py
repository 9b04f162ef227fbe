"""Worker that compresses the last checkpoint of a model and measures what its features keep."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.activations.forward.worker import loaded_checkpoint
from emergence_assets.checkpoints.models.fixed_text import fixed_text_loss
from emergence_assets.checkpoints.models.loading import is_causal
from emergence_assets.emergence.compression.compression_retention import Instruments, compression_retention
from emergence_assets.emergence.last_checkpoint import chosen_latents
from emergence_assets.emergence.table_worker import Made
from emergence_assets.features.statistics.cell_tables import CellRecipe
from emergence_assets.features.statistics.labels import text_weights
from emergence_assets.features.statistics.probe_labels import cell_labels
from emergence_assets.saes.formats.folder import read_sae
from emergence_assets.saes.spec import seed_folder


def compress_model(
    origin: dict[str, Any],
    keys: dict[str, Any],
    files: dict[str, dict[str, str]],
    probes: str,
    settings: Mapping[str, Any],
    report: Any,
) -> Made:
    """Rows of `compression_retention`: the last checkpoint as it is, compressed, disturbed, and without some blocks."""
    level = cell_labels(probes, Path(origin["tokens_file"]))[0]
    score = level.rows(select=False)
    latents = _latents(chosen_latents(files, level.level), level.categories)
    with loaded_checkpoint(origin, report) as loaded:
        device, tokenizer = loaded.accelerator.device, loaded.folder / "tokenizer.json"
        instruments = Instruments(
            texts=[loaded.tokens.probe_ids[text] for text in score],
            category_p=level.codes_p[score],
            kept_c=level.is_usable(CellRecipe().min_texts_per_split),
            weights_pb=text_weights(level, settings["n_bootstrap"], settings["seed"])[score],
            saes={
                int(layer): {
                    seed: read_sae(seed_folder(Path(place["saes"]), seed))[0].to(device) for seed in settings["seeds"]
                }
                for layer, place in files.items()
            },
            latents=latents,
            loss=lambda model: fixed_text_loss(model, tokenizer) if is_causal(model) else None,
            batch_size=loaded.accelerator.capture_batch,
            device=device,
            blocks_name=origin["recipe"]["blocks"],
        )
        wanted = settings["compression"]
        frame = compression_retention(
            keys,
            level.level,
            loaded.model,
            wanted["variants"],
            wanted["layer_skip"],
            settings["seed"],
            instruments,
            report,
        )
    measured = frame.filter(pl.col("control_id") == "none", pl.col("layer") == pl.col("layer").max())
    summary: dict[str, Any] = {}
    for variant, retention in measured.filter(pl.col("variant") != "skip").select("variant", "retention").iter_rows():
        summary[f"retention_{variant}"] = retention
    return Made(frame, summary)


def _latents(rows: Any, categories: Sequence[str]) -> dict[int, dict[int, Any]]:
    """Latent of every category by layer and seed; -1 where there is none."""
    latents: dict[int, dict[int, Any]] = {}
    for row in rows.iter_rows(named=True):
        by_seed = latents.setdefault(row["layer"], {})
        latent_c = by_seed.setdefault(row["sae_seed"], np.full(len(categories), -1))
        if row["latent"] is not None:
            latent_c[categories.index(row["category"])] = row["latent"]
    return latents
