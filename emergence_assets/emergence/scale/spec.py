"""Assets of the size axis: dictionaries that grow with the model, training runs of one model, presence over sizes."""

from collections.abc import Mapping, Sequence
from typing import Any

from emergence_assets.activations.spec import ACTIVATIONS, capture_arguments
from emergence_assets.emergence.relations import PRESENCE_RELATIONS, beside_every_row
from emergence_assets.emergence.scale.table import EMERGENCE_OVER_SCALE as SCALE_TABLE
from emergence_assets.emergence.scale.table import EXPANSION_PRESENCE as EXPANSION_TABLE
from emergence_assets.emergence.scale.table import MODEL_SEEDS as SEEDS_TABLE
from emergence_assets.emergence.table_spec import key_columns, table_spec
from emergence_assets.features.spec import LATENT_STATISTICS, presence_bytes, presence_cells_path
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.saes.spec import EVALUATION_SHARE, SAE
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.files.provenance import Required, canonical_json
from resources.files.storage import Storage


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


def _expansion_arguments(plan: Plan, cell: Cell, _required: Required) -> dict[str, Any]:
    study, model = plan.study, str(cell.model)
    is_made = expanded_latents(study, model) == study.sae.n_latents
    checkpoints = []
    for step in dict.fromkeys(_ends(plan.steps_of(model))):
        cells = [Cell(model, step, layer) for layer in study.layers_of(model) if layer >= 0]
        recipe = ACTIVATIONS.recipe(study, plan.storage, Cell(model, step)) or {}
        checkpoints.append(
            {
                "origin": capture_arguments(plan, Cell(model, step), recipe),
                "cells": [_expansion_cell(plan, one, is_made) for one in cells],
            }
        )
    return {"checkpoints": checkpoints, "probes": canonical_json(study.probe_set.model_dump())}


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


def _runs(plan: Plan, _cell: Cell, _required: Required) -> dict[str, Any]:
    return {"replicates": plan.study.family.replicates}


def _sizes(plan: Plan, _cell: Cell, _required: Required) -> dict[str, Any]:
    return {"sizes": plan.study.sizes, "rule_id": plan.study.statistics.rule_id}


EXPANSION_PRESENCE = table_spec(
    EXPANSION_TABLE,
    ("checkpoint", "activations", "category_presence"),
    "emergence_assets.emergence.scale.expansion_worker:measure_expansion",
    recipe=_expansion_recipe,
    arguments=_expansion_arguments,
    relations=PRESENCE_RELATIONS,
    on_accelerator=True,
    wanted=lambda study: study.fixed_expansion,
    n_bytes=_expansion_bytes,
)
MODEL_SEEDS = table_spec(
    SEEDS_TABLE,
    ("category_presence", "emergence_over_time"),
    "emergence_assets.emergence.scale.worker:compare_runs",
    grid="study",
    recipe=_replicates,
    arguments=_runs,
    wanted=lambda study: bool(study.family.replicates),
)
EMERGENCE_OVER_SCALE = table_spec(
    SCALE_TABLE,
    ("sae_metrics", "category_presence", "feature_counts", "expansion_presence", "model_seeds"),
    "emergence_assets.emergence.scale.worker:compare_sizes",
    grid="study",
    recipe=_replicates,
    arguments=_sizes,
    relations=(beside_every_row("sae_design", "condition", "aggregate", "category_level", "category"),),
)
