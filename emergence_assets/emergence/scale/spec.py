"""The size axis as cells: presence through dictionaries that grow with the model, replicates of a model, and scale."""

from collections.abc import Mapping, Sequence
from typing import Any

from emergence_assets.activations.spec import ACTIVATIONS, harvest_origin
from emergence_assets.emergence.categorical_latents.spec import FEATURE_COUNTS
from emergence_assets.emergence.presence.spec import CATEGORY_PRESENCE
from emergence_assets.emergence.sae_quality.spec import SAE_METRICS
from emergence_assets.emergence.table_spec import key_columns, table_rule
from emergence_assets.emergence.time.spec import EMERGENCE_OVER_TIME
from emergence_assets.features.spec import LATENT_STATISTICS, presence_bytes, presence_cells_path
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.saes.spec import EVALUATION_SHARE, SAE
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.compute.task import Task
from resources.files.provenance import Required, canonical_json
from resources.files.records import required_to_json
from resources.files.storage import Storage

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
    ("scale.expansion_worker:measure_expansion",),
    _expansion_bytes,
    recipe=_expansion_recipe,
)
MODEL_SEEDS = table_rule(
    "model_seeds",
    ("category_presence", "emergence_over_time"),
    ("scale.worker:compare_runs",),
    _seeds_bytes,
    grid="study",
    recipe=_replicates,
)
EMERGENCE_OVER_SCALE = table_rule(
    "emergence_over_scale",
    ("sae_metrics", "category_presence", "feature_counts", "expansion_presence", "model_seeds"),
    ("scale.worker:compare_sizes",),
    _scale_bytes,
    grid="study",
    recipe=_replicates,
)


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
        work.append(
            (Task("emergence_assets.emergence.scale.expansion_worker:measure_expansion", arguments, label), [cell])
        )
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
        function = "emergence_assets.emergence.scale.worker:compare_runs"
        work.append((Task(function, arguments, "model_seeds", on_accelerator=False), [cell]))
    return work


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
        function = "emergence_assets.emergence.scale.worker:compare_sizes"
        work.append((Task(function, arguments, "emergence_over_scale", on_accelerator=False), [cell]))
    return work
