"""The table `compression_retention` as a cell; only of studies that ask for it (`compression` in the study file)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.cells import probe_recipe
from emergence_assets.emergence.last_checkpoint import chosen_latents, last_checkpoint_arguments
from emergence_assets.emergence.table_cells import table_rule, write_cell
from emergence_assets.features.cells import cell_labels
from emergence_assets.plan import Cell, Plan
from emergence_assets.provenance import Required
from emergence_assets.saes.cells import seed_folder
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from resources.compute import Task
from resources.records import required_from_json
from resources.storage import Storage

TABLE_BYTES, ROW_BYTES = 10_800, 100
"""Of compressed parquet: columns with their statistics, and a version at a layer."""


def _recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any] | None:
    if study.compression is None:
        return None
    return {
        "compression": study.compression.model_dump(),
        "probe_set": probe_recipe(study),
        "seeds": list(study.sae.seeds),
        "n_bootstrap": study.statistics.n_bootstrap,
        "seed": study.statistics.seed,
    }


def _bytes(study: Study, cell: Cell, _counts: TextCounts) -> float:
    n_variants = len(study.compression.variants) if study.compression else 0
    n_layers = len(study.layers_of(str(cell.model)))
    return TABLE_BYTES + ROW_BYTES * n_layers * (2 + 2 * n_variants)


COMPRESSION_RETENTION = table_rule(
    "compression_retention",
    ("checkpoint", "sae", "latent_stats"),
    ("compression_cells:compress_model",),
    _bytes,
    recipe=_recipe,
)
RULES = (COMPRESSION_RETENTION,)


def compression_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per model."""
    work = []
    for cell, required in due:
        arguments = last_checkpoint_arguments(plan, cell, required)
        arguments["path"] = str(COMPRESSION_RETENTION.path(plan.storage, cell))
        label = f"compression_retention {cell}"
        work.append((Task("emergence_assets.emergence.compression_cells:compress_model", arguments, label), [cell]))
    return work


def compress_model(
    origin: dict[str, Any],
    keys: dict[str, Any],
    files: dict[str, dict[str, str]],
    probes: str,
    path: str,
    required: str,
    report: Any,
) -> None:
    """Worker: the last checkpoint of one model as it is, compressed, disturbed and with blocks left out."""
    import polars as pl

    from emergence_assets.activations.harvest import loaded_checkpoint
    from emergence_assets.checkpoints.fixed_text import fixed_text_loss
    from emergence_assets.checkpoints.loading import is_causal
    from emergence_assets.emergence.compression_table import Instruments, compression_retention
    from emergence_assets.emergence.tables.cost import COMPRESSION_RETENTION as TABLE
    from emergence_assets.features.cell import CellRecipe
    from emergence_assets.features.labels import text_weights
    from emergence_assets.saes.folder import read_sae

    recipe = required_from_json(required).recipe
    level = cell_labels(probes, Path(origin["tokens_file"]))[0]
    score = level.rows(select=False)
    latents = _latents(chosen_latents(files, level.level), level.categories)
    with loaded_checkpoint(origin, report) as loaded:
        device, tokenizer = loaded.accelerator.device, loaded.folder / "tokenizer.json"
        instruments = Instruments(
            texts=[loaded.tokens.probe_ids[text] for text in score],
            category_p=level.codes_p[score],
            kept_c=level.is_usable(CellRecipe().min_texts_per_split),
            weights_pb=text_weights(level, recipe["n_bootstrap"], recipe["seed"])[score],
            saes={
                int(layer): {
                    seed: read_sae(seed_folder(Path(place["saes"]), seed))[0].to(device) for seed in recipe["seeds"]
                }
                for layer, place in files.items()
            },
            latents=latents,
            loss=lambda model: fixed_text_loss(model, tokenizer) if is_causal(model) else None,
            batch_size=loaded.accelerator.capture_batch,
            device=device,
            blocks_name=origin["recipe"]["blocks"],
        )
        settings = recipe["compression"]
        frame = compression_retention(
            keys,
            level.level,
            loaded.model,
            settings["variants"],
            settings["layer_skip"],
            recipe["seed"],
            instruments,
            report,
        )
    measured = frame.filter(pl.col("control_id") == "none", pl.col("layer") == pl.col("layer").max())
    summary: dict[str, Any] = {"rows": len(frame)}
    for variant, retention in measured.filter(pl.col("variant") != "skip").select("variant", "retention").iter_rows():
        summary[f"retention_{variant}"] = retention
    write_cell(Path(path), frame, TABLE, required, summary)


def _latents(rows: Any, categories: Sequence[str]) -> dict[int, dict[int, Any]]:
    """Latent of every category by layer and seed; -1 where there is none."""
    import numpy as np

    latents: dict[int, dict[int, Any]] = {}
    for row in rows.iter_rows(named=True):
        by_seed = latents.setdefault(row["layer"], {})
        latent_c = by_seed.setdefault(row["sae_seed"], np.full(len(categories), -1))
        if row["latent"] is not None:
            latent_c[categories.index(row["category"])] = row["latent"]
    return latents
