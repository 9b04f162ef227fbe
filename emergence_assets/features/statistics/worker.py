"""Measure the latents of one layer of one checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.features.statistics.categorical_latents import categorical_latents
from emergence_assets.features.statistics.cell_tables import CellRecipe, dense_scores, latent_stats
from emergence_assets.features.statistics.encoded import encoded, random_encoders, stored_read_outs
from emergence_assets.features.statistics.pairs import count_tests
from emergence_assets.features.statistics.presence_cell import presence_cell, random_presence_cell, with_rule
from emergence_assets.features.statistics.probe_labels import cell_labels, cell_texts
from emergence_assets.features.statistics.rule_counts import random_rule_counts, rule_counts
from emergence_assets.features.table import CATEGORICAL_LATENTS, LATENT_STATS, PRESENCE_CELLS, RULE_COUNTS
from emergence_assets.plan.table_worker import Made
from emergence_assets.saes.formats.folder import read_sae
from emergence_assets.saes.spec import seed_folder


def measure_cell(cells: Sequence[Mapping[str, Any]], probes: str, settings: Mapping[str, Any], report: Any) -> Made:
    """Worker: encode the read-outs with the SAEs; make `latent_stats` and the tables beside it.

    Presence is measured in random encoders too: as many latents as an SAE, centred at the mean of the training rows.

    Args:
        cells: the cell of one layer, see `input_cells`.
        probes: JSON of the probe set.
        settings: sections statistics and sae of the study.
        report: called with SAEs done, total SAEs, and a note.
    """
    [cell] = cells
    files, tokens_file = cell["files"], Path(cell["tokens_file"])
    recipe, seeds = CellRecipe.from_settings(settings["statistics"]), settings["sae"]["seeds"]
    labels, facts = cell_labels(probes, tokens_file), cell_texts(probes, tokens_file)
    read_out_pd = stored_read_outs(Path(files["activations"]))
    norm = float(np.sqrt(read_out_pd.var(axis=0, dtype=np.float64).sum()))
    dense = dense_scores(read_out_pd, labels, recipe)
    parts: dict[str, list[pl.DataFrame]] = {}
    tests = n_latents = 0
    for position, seed in enumerate(seeds):
        sae, _ = read_sae(seed_folder(Path(files["sae"]), seed))
        n_latents = sae.n_latents
        codes = encoded(sae, read_out_pd)
        stats = latent_stats(codes, labels, recipe)
        made = {
            LATENT_STATS.name: stats,
            PRESENCE_CELLS.name: with_rule(presence_cell(codes, dense, labels, recipe), stats),
            RULE_COUNTS.name: rule_counts(
                codes, labels, stats, seed=recipe.shuffle_seed, min_texts_per_split=recipe.min_texts_per_split
            ),
            CATEGORICAL_LATENTS.name: categorical_latents(codes, stats, facts, norm),
        }
        tests += sum(count_tests(codes, level) for level in labels)
        for name, frame in made.items():
            parts.setdefault(name, []).append(frame.with_columns(sae_seed=pl.lit(seed, keys.SAE_SEED.dtype)))
        report(position + 1, len(seeds), "")
    n_draws = settings["statistics"]["n_random_encoders"]
    drawn = random_encoders(Path(files["activations"]), cell["layer"], n_latents, settings, n_draws)
    for draw, directions in enumerate(drawn):
        codes = encoded(directions, read_out_pd)
        rows = random_presence_cell(codes, dense, labels, recipe)
        if draw < len(seeds):  # a rule costs more than presence: as many random encoders as SAEs
            stats = latent_stats(codes, labels, recipe)
            rows = with_rule(rows, stats)
            counts = random_rule_counts(codes, labels, stats, min_texts_per_split=recipe.min_texts_per_split)
            parts[RULE_COUNTS.name].append(counts.with_columns(sae_seed=pl.lit(draw, keys.SAE_SEED.dtype)))
        parts[PRESENCE_CELLS.name].append(rows.with_columns(sae_seed=pl.lit(draw, keys.SAE_SEED.dtype)))
    frames = {name: pl.concat(part) for name, part in parts.items()}
    return Made(frames[LATENT_STATS.name], _summary(frames, recipe.rule_id) | {"tests": tests}, frames)


def _summary(frames: Mapping[str, pl.DataFrame], rule_id: str) -> dict[str, Any]:
    latents, presence, counts = (frames[table.name] for table in (LATENT_STATS, PRESENCE_CELLS, RULE_COUNTS))
    primary = presence.filter(pl.col("category_level") == presence["category_level"][0])
    real = primary.filter(pl.col("control_id") == "none")
    shuffled = primary.filter(pl.col("control_id") == "label_shuffle")
    by_chance = counts.filter(pl.col("control_id") == "label_shuffle", pl.col("rule_id") == rule_id)
    return {
        "level": str(presence["category_level"][0]),
        "categories": real["category"].n_unique(),
        "mean_best_auroc": real["p_best"].mean(),
        "mean_dense_auroc": real["p_dense"].mean(),
        "mean_shuffled_auroc": shuffled["p_best"].mean(),
        "categorical_latents": int(latents["passes"].sum()),
        "share_categorical_by_chance": _share_of_live(by_chance),
    }


def _share_of_live(counts: Any) -> float:
    """Return the largest share of categorical latents among live latents, over all levels and seeds."""
    levels = counts.group_by("category_level", "sae_seed", maintain_order=True).agg(
        pl.col("n_features").sum(), pl.col("n_live").first()
    )
    return float((levels["n_features"] / levels["n_live"].clip(lower_bound=1)).max() or 0.0)
