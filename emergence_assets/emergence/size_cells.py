"""The size axis as cells: presence through dictionaries that grow with the model, replicates of a model, and scale."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.cells import ACTIVATIONS, harvest_origin, probe_recipe
from emergence_assets.emergence.cells import CATEGORY_PRESENCE, EMERGENCE_OVER_TIME, SAE_METRICS
from emergence_assets.emergence.feature_cells import FEATURE_COUNTS
from emergence_assets.emergence.table_cells import key_columns, table_rule, write_cell
from emergence_assets.features.cells import LATENT_STATISTICS, presence_cells_path
from emergence_assets.features.table_sizes import presence_bytes
from emergence_assets.plan import Cell, Plan
from emergence_assets.provenance import Required, canonical_json
from emergence_assets.saes.cells import EVALUATION_SHARE, SAE
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from resources.compute import Task
from resources.records import required_to_json
from resources.storage import Storage
from resources.tables import read_table, read_tables

SCALE_BYTES, SCALE_ROW_BYTES = 20_000, 27
"""Of emergence_over_scale: what it takes at least, and a row with its points."""
SEEDS_BYTES = 17_000
"""Of model_seeds."""


def expanded_latents(study: Study, model: str) -> int:
    """Dictionary size of a model at the expansion with which the widest model gets the study's n_latents."""
    widest = max(study.family.models[name].d_model for name in study.models)
    return max(study.sae.k, round(study.sae.n_latents * study.family.models[model].d_model / widest))


def _expansion_recipe(study: Study, _storage: Storage, cell: Cell) -> Mapping[str, Any]:
    n_latents = expanded_latents(study, str(cell.model))
    settings = study.sae.model_dump(exclude={"warm_start", "fidelity_texts"}) | {"n_latents": n_latents}
    settings["prefixes"] = [prefix for prefix in study.sae.prefixes if prefix < n_latents]
    return {
        "sae": settings,
        "evaluation_share": EVALUATION_SHARE,
        "statistics": study.statistics.model_dump(),
        "probe_set": probe_recipe(study),
    }


def _expansion_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    n_cells = len(set(_ends(study.listed_steps or []))) * len(study.layers_of(str(cell.model)))
    return n_cells * presence_bytes(len(counts.category_sizes), study.statistics.n_bootstrap, n_seeds=1)


def _ends(steps: Sequence[int]) -> list[int]:
    return [*steps[:1], *steps[-1:]]


def _replicates(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"replicates": study.family.replicates}


def _seeds_bytes(_study: Study, _cell: Cell, _counts: TextCounts) -> float:
    return SEEDS_BYTES


def _scale_bytes(study: Study, _cell: Cell, counts: TextCounts) -> float:
    n_compared = 5 if study.fixed_expansion else 3
    return SCALE_BYTES + SCALE_ROW_BYTES * n_compared * 2 * len(counts.category_sizes)


EXPANSION_PRESENCE = table_rule(
    "expansion_presence",
    ("checkpoint", "activations", "category_presence"),
    ("expansion:measure_expansion",),
    _expansion_bytes,
    recipe=_expansion_recipe,
)
MODEL_SEEDS = table_rule(
    "model_seeds",
    ("category_presence", "emergence_over_time"),
    ("size_cells:compare_runs",),
    _seeds_bytes,
    grid="study",
    recipe=_replicates,
)
EMERGENCE_OVER_SCALE = table_rule(
    "emergence_over_scale",
    ("sae_metrics", "category_presence", "feature_counts", "expansion_presence", "model_seeds"),
    ("size_cells:compare_sizes",),
    _scale_bytes,
    grid="study",
    recipe=_replicates,
)
RULES = (EXPANSION_PRESENCE, MODEL_SEEDS, EMERGENCE_OVER_SCALE)


def expansion_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per model."""
    work = []
    for cell, required in due:
        study, model = plan.study, str(cell.model)
        is_made = expanded_latents(study, model) == study.sae.n_latents
        checkpoints = []
        for step in dict.fromkeys(_ends(plan.steps_of(model))):
            cells = [Cell(model, step, layer) for layer in study.layers_of(model) if layer >= 0]
            recipe = ACTIVATIONS.recipe(study, plan.storage, Cell(model, step)) or {}
            checkpoints.append(
                {
                    "origin": harvest_origin(plan, Cell(model, step), recipe),
                    "cells": [_expansion_cell(plan, one, is_made) for one in cells],
                }
            )
        arguments = {
            "checkpoints": checkpoints,
            "probes": canonical_json(study.probe_set.model_dump()),
            "presence": str(CATEGORY_PRESENCE.path(plan.storage, cell)),
            "path": str(EXPANSION_PRESENCE.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        label = f"expansion_presence {cell}"
        work.append((Task("emergence_assets.emergence.expansion:measure_expansion", arguments, label), [cell]))
    return work


def _expansion_cell(plan: Plan, cell: Cell, is_made: bool) -> dict[str, Any]:
    keys = key_columns(plan, LATENT_STATISTICS, cell)
    made = {
        "sae": str(SAE.path(plan.storage, cell)),
        "latent_stats": str(LATENT_STATISTICS.path(plan.storage, cell)),
        "presence_cells": str(presence_cells_path(plan.storage, cell)),
        "n_latents": plan.study.sae.n_latents,
    }
    return keys | {
        "rel_depth": (int(cell.layer or 0) + 1) / keys["n_layers"],
        "activation_file": str(ACTIVATIONS.path(plan.storage, cell)),
        "made": made if is_made else None,
    }


def seeds_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task."""
    replicates = plan.study.family.replicates
    runs = [model for model in plan.study.models if model in replicates or model in replicates.values()]
    work = []
    for cell, required in due:
        arguments = {
            "presence": [str(CATEGORY_PRESENCE.path(plan.storage, Cell(model))) for model in runs],
            "over_time": [str(EMERGENCE_OVER_TIME.path(plan.storage, Cell(model))) for model in runs],
            "replicates": replicates,
            "path": str(MODEL_SEEDS.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        function = "emergence_assets.emergence.size_cells:compare_runs"
        work.append((Task(function, arguments, "model_seeds", on_accelerator=False), [cell]))
    return work


def compare_runs(
    presence: list[str], over_time: list[str], replicates: dict[str, str], path: str, required: str, report: Any
) -> None:
    """Worker: how far training runs of one model differ."""
    from emergence_assets.emergence.model_seeds import model_seeds
    from emergence_assets.emergence.tables.catalogue import CATALOGUE

    frame = model_seeds(
        read_tables([Path(part) for part in presence], CATALOGUE[CATEGORY_PRESENCE.name]),
        read_tables([Path(part) for part in over_time], CATALOGUE[EMERGENCE_OVER_TIME.name]),
        replicates,
    )
    write_cell(Path(path), frame, CATALOGUE[MODEL_SEEDS.name], required, {"rows": len(frame)})


def scale_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task."""
    sizes = [Cell(model) for model in plan.study.sizes]
    work = []
    for cell, required in due:
        used = {name: plan.rules[name] for name in ("expansion_presence", "model_seeds") if name in plan.rules}
        arguments = {
            "presence": [str(CATEGORY_PRESENCE.path(plan.storage, size)) for size in sizes],
            "metrics": [str(SAE_METRICS.path(plan.storage, size)) for size in sizes],
            "counts": [str(FEATURE_COUNTS.path(plan.storage, size)) for size in sizes],
            "rule_id": plan.study.statistics.rule_id,
            "expansion": [str(EXPANSION_PRESENCE.path(plan.storage, size)) for size in sizes]
            if "expansion_presence" in used
            else [],
            "seeds": str(MODEL_SEEDS.path(plan.storage, Cell())) if "model_seeds" in used else None,
            "path": str(EMERGENCE_OVER_SCALE.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        function = "emergence_assets.emergence.size_cells:compare_sizes"
        work.append((Task(function, arguments, "emergence_over_scale", on_accelerator=False), [cell]))
    return work


def compare_sizes(
    presence: list[str],
    metrics: list[str],
    counts: list[str],
    rule_id: str,
    expansion: list[str],
    seeds: str | None,
    path: str,
    required: str,
    report: Any,
) -> None:
    """Worker: presence over the sizes of the family, under every SAE design that there is."""
    import polars as pl

    from emergence_assets.emergence.model_seeds import run_spread
    from emergence_assets.emergence.scale import FIXED_EXPANSION, FIXED_WIDTH, SizeReading, emergence_over_scale
    from emergence_assets.emergence.tables.catalogue import CATALOGUE

    cell = ["model", "step", "layer"]
    width = read_tables([Path(part) for part in presence], CATALOGUE[CATEGORY_PRESENCE.name])
    counted = read_tables([Path(part) for part in counts], CATALOGUE[FEATURE_COUNTS.name])
    is_real = (pl.col("control_id") == "none") & (pl.col("aggregate") == "none")
    named = [*cell, "category_level", "category", "n_passing"]
    dictionaries = read_tables([Path(part) for part in metrics], CATALOGUE[SAE_METRICS.name])
    readings = {
        FIXED_WIDTH: SizeReading(
            width,
            dictionaries.group_by(cell).agg(pl.col("n_latents").first(), pl.col("fvu", "l0").mean()),
            counted.filter(is_real, pl.col("rule_id") == rule_id).select(named),
        )
    }
    if expansion:
        frame = read_tables([Path(part) for part in expansion], CATALOGUE[EXPANSION_PRESENCE.name])
        readings[FIXED_EXPANSION] = SizeReading(
            frame.select(list(CATALOGUE[CATEGORY_PRESENCE.name].schema)),
            frame.group_by(cell).agg(pl.col("n_latents", "fvu", "l0").first()),
            frame.filter(pl.col("control_id") == "none").select(named),
        )
    spread = run_spread(read_table(Path(seeds), CATALOGUE[MODEL_SEEDS.name])) if seeds else None
    frame = emergence_over_scale(readings, spread)
    verdicts = frame.filter(pl.col("control_id") == "none")["verdict"].value_counts().sort("verdict")
    numbers = {"rows": len(frame), "verdicts": ", ".join(f"{n} {verdict}" for verdict, n in verdicts.iter_rows())}
    write_cell(Path(path), frame, CATALOGUE[EMERGENCE_OVER_SCALE.name], required, numbers)
