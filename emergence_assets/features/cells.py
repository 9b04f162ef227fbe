"""Latent statistics as cells: per model, step and layer a table of latents, and three that are made with it."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.cells import ACTIVATIONS, probe_recipe, probe_set, stored_tokens_file
from emergence_assets.durable import clear_disk_errors
from emergence_assets.features.table_sizes import (
    categorical_latents_bytes,
    expected_pairs,
    latent_stats_bytes,
    presence_bytes,
    rule_counts_bytes,
)
from emergence_assets.features.tables.categorical import CATEGORICAL_LATENTS, RULE_COUNTS
from emergence_assets.features.tables.presence import PRESENCE_CELLS
from emergence_assets.features.tables.statistics import LATENT_STATS
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.provenance import Required, canonical_json
from emergence_assets.saes.cells import SAE, seed_folder
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from emergence_assets.violations import violations
from resources.compute import Task
from resources.records import record_of, required_from_json, required_to_json
from resources.storage import Storage
from resources.tables import parquet_provenance, verify_table, write_table


def _statistics_recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {
        "statistics": study.statistics.model_dump(),
        "probe_set": probe_recipe(study),
        "seeds": list(study.sae.seeds),
    }


def _statistics_bytes(study: Study, _cell: Cell, counts: TextCounts) -> float:
    n_seeds = len(study.sae.seeds)
    n_pairs = n_seeds * expected_pairs(counts.category_sizes, study.sae.n_latents, study.sae.k)
    n_categories = len(counts.category_sizes)
    return (
        latent_stats_bytes(n_pairs)
        + presence_bytes(n_categories, study.statistics.n_bootstrap, n_seeds)
        + rule_counts_bytes(n_seeds * n_categories)
        + categorical_latents_bytes(n_seeds * study.sae.n_latents)
    )


LATENT_STATISTICS = Rule(
    name="latent_stats",
    stage="features",
    grid="cell",
    inputs=("activations", "sae"),
    recipe=_statistics_recipe,
    code=("emergence_assets.features.cells:measure_cell",),
    path=lambda storage, cell: _table_path(storage, "latent_stats", cell),
    stored=parquet_provenance,
    verify=verify_table,
    also=lambda storage, cell: tuple(_table_path(storage, table.name, cell) for table in MADE_WITH_IT),
    n_bytes=_statistics_bytes,
)
RULES = (LATENT_STATISTICS,)


MADE_WITH_IT = (PRESENCE_CELLS, RULE_COUNTS, CATEGORICAL_LATENTS)
"""Tables of a cell that are written before the latent statistics, whose file marks them all as done."""


def presence_cells_path(storage: Storage, cell: Cell) -> Path:
    """The cell's part of the presence table."""
    return _table_path(storage, PRESENCE_CELLS.name, cell)


def rule_counts_path(storage: Storage, cell: Cell) -> Path:
    """The cell's counts of categorical latents."""
    return _table_path(storage, RULE_COUNTS.name, cell)


def categorical_latents_path(storage: Storage, cell: Cell) -> Path:
    """The cell's categorical latents."""
    return _table_path(storage, CATEGORICAL_LATENTS.name, cell)


def _table_path(storage: Storage, table: str, cell: Cell) -> Path:
    return storage.cell_table(table, str(cell.model), int(cell.step or 0), int(cell.layer or 0))


def statistics_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per cell."""
    work = []
    for cell, required in due:
        arguments = {
            "activation_file": str(ACTIVATIONS.path(plan.storage, cell)),
            "tokens_file": str(stored_tokens_file(plan, cell)),
            "sae_folder": str(SAE.path(plan.storage, cell)),
            "latents_path": str(LATENT_STATISTICS.path(plan.storage, cell)),
            "paths": [str(path) for path in LATENT_STATISTICS.also(plan.storage, cell)],
            "required": required_to_json(required),
            "probes": canonical_json(plan.study.probe_set.model_dump()),
            "seeds": list(plan.study.sae.seeds),
        }
        work.append(
            (Task("emergence_assets.features.cells:measure_cell", arguments, str(cell), on_accelerator=False), [cell])
        )
    return work


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

    from emergence_assets.activations.reading import open_rows
    from emergence_assets.features.accepted import categorical_latents
    from emergence_assets.features.cell import CellRecipe, dense_scores, latent_stats, presence_cell
    from emergence_assets.features.encoded import encoded
    from emergence_assets.features.pairs import count_tests
    from emergence_assets.features.rule_counts import rule_counts
    from emergence_assets.saes.folder import read_sae

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


@functools.cache
def cell_labels(probes: str, tokens_file: Path) -> tuple[Any, ...]:
    """Labels of the probe texts in the order of the read-outs, a level each; built once per process."""
    from emergence_assets.features.labels import Labels

    declared = probe_set(probes)
    texts = probe_texts(probes, tokens_file)
    is_select = (texts["split"] == "select").to_numpy()
    unit_p = texts["unit"].rank("dense").to_numpy().astype("int64") - 1
    return tuple(Labels.from_values(level, texts[level].to_list(), is_select, unit_p) for level in declared.levels)


@functools.cache
def cell_texts(probes: str, tokens_file: Path) -> Any:
    """Length and words of the probe texts in the order of the read-outs; built once per process."""
    from emergence_assets.features.accepted import TextFacts

    texts = probe_texts(probes, tokens_file)
    return TextFacts.of(texts["text_id"].to_list(), texts["text"].to_list())


def probe_texts(probes: str, tokens_file: Path) -> Any:
    """Texts and labels in the order of the read-outs."""
    import polars as pl

    from emergence_assets.activations.tokens import known_tokens

    order = pl.DataFrame({"text_id": list(known_tokens(tokens_file).probe_text_id)})
    return order.join(probe_set(probes).texts, on="text_id", how="left", maintain_order="left")


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
