"""Worker that measures the latents of one cell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emergence_assets.features.spec import MADE_WITH_IT
from emergence_assets.features.statistics.probe_labels import cell_labels, cell_texts
from emergence_assets.features.table import CATEGORICAL_LATENTS, LATENT_STATS, PRESENCE_CELLS, RULE_COUNTS
from emergence_assets.saes.spec import seed_folder
from resources.files.atomic import clear_disk_errors
from resources.files.records import record_of, required_from_json
from resources.tables.parquet import write_table
from resources.tables.violations import violations


def measure_cell(
    activation_file: str,
    tokens_file: str,
    sae_folder: str,
    latents_path: str,
    paths: list[str],
    required: str,
    probes: str,
    seeds: list[int],
    report: Any,
) -> None:
    """Worker: encode the read-outs of a cell with its SAEs and compare latents with categories."""
    import numpy as np
    import polars as pl

    from emergence_assets.activations.files.reading import open_rows
    from emergence_assets.features.statistics.categorical_latents import categorical_latents
    from emergence_assets.features.statistics.cell_tables import CellRecipe, dense_scores, latent_stats, presence_cell
    from emergence_assets.features.statistics.encoded import encoded
    from emergence_assets.features.statistics.pairs import count_tests
    from emergence_assets.features.statistics.rule_counts import rule_counts
    from emergence_assets.saes.formats.folder import read_sae

    want = required_from_json(required)
    recipe = CellRecipe.from_settings(want.recipe["statistics"])
    labels = cell_labels(probes, Path(tokens_file))
    read_out_pd = np.ascontiguousarray(open_rows(Path(activation_file), "read_out", verify=True).float32())
    facts, norm = cell_texts(probes, Path(tokens_file)), float(np.sqrt(read_out_pd.var(axis=0, dtype=np.float64).sum()))
    dense = dense_scores(read_out_pd, labels, recipe)
    parts: dict[str, list[pl.DataFrame]] = {table.name: [] for table in (LATENT_STATS, *MADE_WITH_IT)}
    tests = 0
    for position, seed in enumerate(seeds):
        sae, _ = read_sae(seed_folder(Path(sae_folder), seed))
        codes = encoded(sae, read_out_pd)
        stats = latent_stats(codes, labels, recipe)
        made = {
            LATENT_STATS.name: stats,
            PRESENCE_CELLS.name: presence_cell(codes, read_out_pd, labels, recipe, dense),
            RULE_COUNTS.name: rule_counts(
                codes, labels, stats, seed=recipe.shuffle_seed, min_texts_per_split=recipe.min_texts_per_split
            ),
            CATEGORICAL_LATENTS.name: categorical_latents(codes, stats, facts, norm),
        }
        tests += sum(count_tests(codes, level) for level in labels)
        for name, frame in made.items():
            parts[name].append(frame.with_columns(sae_seed=pl.lit(seed, pl.Int16)))
        report(position + 1, len(seeds), "")
    frames = {name: pl.concat(part) for name, part in parts.items()}
    record = record_of(want, _summary(frames, recipe.rule_id) | {"tests": tests}).to_json()
    with clear_disk_errors(Path(latents_path)):
        for path, table in zip(paths, MADE_WITH_IT, strict=True):
            write_table(Path(path), frames[table.name], table, record)
        write_table(Path(latents_path), frames[LATENT_STATS.name], LATENT_STATS, record)


def _summary(frames: Mapping[str, Any], rule_id: str) -> dict[str, Any]:
    import polars as pl

    latents, presence, counts = (frames[table.name] for table in (LATENT_STATS, PRESENCE_CELLS, RULE_COUNTS))
    primary = presence.filter(pl.col("category_level") == presence["category_level"][0])
    real = primary.filter(pl.col("control_id") == "none")
    shuffled = primary.filter(pl.col("control_id") == "label_shuffle")
    by_chance = counts.filter(pl.col("control_id") == "label_shuffle", pl.col("rule_id") == rule_id)
    return {
        "level": str(presence["category_level"][0]),
        "categories": real["category"].n_unique(),
        "mean_best_auroc": float(real["p_best"].mean()),
        "mean_dense_auroc": float(real["p_dense"].mean()),
        "mean_shuffled_auroc": float(shuffled["p_best"].mean()),
        "categorical_latents": int(latents["passes"].sum()),
        "share_categorical_by_chance": _share_of_live(by_chance),
        "pairs": len(latents),
        **_violations(frames),
    }


def _violations(frames: Mapping[str, Any]) -> dict[str, int]:
    """How often the tables of a cell break their declarations, together."""
    found = [violations(frames[table.name], table) for table in (LATENT_STATS, *MADE_WITH_IT)]
    return {name: sum(one[name] for one in found) for name in found[0]}


def _share_of_live(counts: Any) -> float:
    """Categorical latents by live ones, the largest of all levels and seeds."""
    import polars as pl

    levels = counts.group_by("category_level", "sae_seed").agg(pl.col("n_features").sum(), pl.col("n_live").first())
    return float((levels["n_features"] / levels["n_live"].clip(lower_bound=1)).max() or 0.0)
