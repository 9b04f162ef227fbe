"""Presence in SAEs whose dictionary grows with the width of the model, the second SAE design of the size axis.

These SAEs are trained and measured, but not stored.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.checkpoints import keys
from emergence_assets.emergence.presence.net import RANDOM
from emergence_assets.emergence.presence.presence import category_presence as presence_of_cells
from emergence_assets.emergence.scale.table import EXPANSION_PRESENCE
from emergence_assets.features.statistics.cell_tables import CellRecipe, dense_scores, latent_stats
from emergence_assets.features.statistics.encoded import encoded, stored_read_outs
from emergence_assets.features.statistics.presence_cell import presence_cell
from emergence_assets.features.statistics.probe_labels import cell_labels
from emergence_assets.features.table import LATENT_STATS, PRESENCE_CELLS
from emergence_assets.plan.table_worker import Made, key_columns
from emergence_assets.saes.layers.layer_rows import LayerRows, stacks
from emergence_assets.saes.layers.make import LayerInputs, make_saes
from emergence_assets.saes.spec import METRICS_NAME
from emergence_assets.study.sae import SAESettings
from resources.compute.accelerator import choose_accelerator
from resources.tables.parquet import read_table

_CELL = ["model", "step", "layer"]


def measure_expansion(
    cells: Sequence[Mapping[str, Any]],
    origins: Mapping[int, Mapping[str, Any]],
    probes: str,
    category_presence: pl.DataFrame,
    settings: Mapping[str, Any],
    report: Any,
) -> Made:
    """Make the rows of `expansion_presence`: first and last checkpoint of one model, dictionaries scaled with d_model.

    Args:
        cells: layers of all checkpoints of the model, see `input_cells`.
        origins: see `origins.origins`.
        probes: JSON of the probe set.
        category_presence: `category_presence` of the model; source of the bag-of-words AUROC.
        settings: sections sae, with the dictionary size of the model, and statistics of the study; `is_trained`,
            whether SAEs of this dictionary size must be trained.
        report: called with layers done, all layers, and a note.
    """
    by_step = {step: {c["layer"]: c for c in cells if c["step"] == step and c["layer"] >= 0} for step in origins}
    parts: list[tuple[pl.DataFrame, ...]] = []
    for step, layers in by_step.items():
        for layer, *frames in _measured(layers, origins[step], probes, settings):
            parts.append(tuple(frame.with_columns(key_columns(layers[layer])) for frame in frames))
            report(len(parts), sum(map(len, by_step.values())), "")
    presence, dictionaries, counts = (pl.concat(part) for part in zip(*parts, strict=True))
    measured = category_presence.filter(pl.col("control_id") != RANDOM)
    words = measured.unique(["control_id", "category_level", "category"], keep="first")
    about = dictionaries.group_by(_CELL, maintain_order=True).agg(pl.col("fvu", "l0").mean())
    frame = (
        presence_of_cells(presence, words)
        .with_columns(n_latents=pl.lit(settings["sae"]["n_latents"]))
        .join(about, on=_CELL, how="left")
        .join(
            counts.select(*_CELL, "control_id", "category_level", "category", "n_passing"),
            on=[*_CELL, "control_id", "category_level", "category"],
            how="left",
        )
        .with_columns(n_passing=pl.when(pl.col("control_id") == "none").then(pl.col("n_passing").fill_null(0)))
        .select(pl.col(name).cast(dtype) for name, dtype in EXPANSION_PRESENCE.schema.items())
    )
    return Made(frame, {"mean_fvu": frame["fvu"].mean()})


def _measured(
    layers: Mapping[int, Mapping[str, Any]], origin: Mapping[str, Any], probes: str, settings: Mapping[str, Any]
) -> Iterator[tuple[int, pl.DataFrame, pl.DataFrame, pl.DataFrame]]:
    """Yield per layer of a checkpoint: presence, FVU and L0 by SAE seed, and counts of categorical latents."""
    files = {layer: {name: Path(file) for name, file in cell["files"].items()} for layer, cell in layers.items()}
    if settings["is_trained"]:
        own_files = {layer: own["activations"] for layer, own in files.items()}
        for stack in stacks(origin, own_files, settings["sae"].get("mixing_rows"), lambda *_: None):
            for rows in stack:
                read_out_pd = stored_read_outs(own_files[rows.layer])
                presence, latents, metrics = _trained(rows, read_out_pd, Path(origin["tokens_file"]), probes, settings)
                yield rows.layer, presence, _quality(metrics), _counts(latents, len(metrics))
        return
    for layer, own in files.items():
        metrics = json.loads((own["sae"] / METRICS_NAME).read_text("utf-8"))["seeds"]
        latents = read_table(own["latent_stats"], LATENT_STATS)
        presence = read_table(own["presence_cells"], PRESENCE_CELLS).filter(pl.col("control_id") != RANDOM)
        yield layer, presence, _quality(metrics), _counts(latents, len(metrics))


def _trained(
    rows: LayerRows,
    read_out_pd: NDArray[np.float32],
    tokens_file: Path,
    probes: str,
    settings: Mapping[str, Any],
) -> tuple[pl.DataFrame, pl.DataFrame, Sequence[Mapping[str, Any]]]:
    """Train the SAEs of a layer; return presence and latent statistics by SAE seed, and the SAEs' metrics."""
    [made] = make_saes(
        [LayerInputs(rows)],
        list(settings["sae"]["seeds"]),
        SAESettings.model_validate(settings["sae"]),
        choose_accelerator().device,
        lambda *_: None,
    )
    recipe, labels = CellRecipe.from_settings(settings["statistics"]), cell_labels(probes, tokens_file)
    dense = dense_scores(read_out_pd, labels, recipe)
    presence, latents = [], []
    for seed, sae in made.saes.items():
        codes, own_seed = encoded(sae, read_out_pd), pl.lit(seed, keys.SAE_SEED.dtype).alias("sae_seed")
        latents.append(latent_stats(codes, labels, recipe).with_columns(own_seed))
        presence.append(presence_cell(codes, dense, labels, recipe).with_columns(own_seed))
    return pl.concat(presence), pl.concat(latents), made.metrics


def _quality(metrics: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return FVU and L0 of every SAE."""
    return pl.DataFrame([{name: float(one[name]) for name in ("fvu", "l0")} for one in metrics])


def _counts(latents: pl.DataFrame, n_seeds: int) -> pl.DataFrame:
    """Count the categorical latents of every category that has any, mean over SAE seeds."""
    passing = (
        latents.filter("passes")
        .group_by("category_level", "category", maintain_order=True)
        .agg(n_passing=pl.len() / n_seeds)
    )
    return passing.with_columns(control_id=pl.lit("none"))
