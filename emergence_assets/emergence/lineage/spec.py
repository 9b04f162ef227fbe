"""Assets of lineages: per model edges, lineages, stability, what early layers carry on; and edges between sizes."""

from collections.abc import Mapping, Sequence
from typing import Any

from emergence_assets.activations.spec import ACTIVATIONS, stored_tokens_file
from emergence_assets.checkpoints.spec import CHECKPOINT
from emergence_assets.emergence.lineage import stability_table, table
from emergence_assets.emergence.lineage.checks import (
    CARRY_CHECKS,
    EDGE_CHECKS,
    NODE_CHECKS,
    SIZE_CHECKS,
    STABILITY_CHECKS,
)
from emergence_assets.emergence.table_spec import table_spec
from emergence_assets.features.spec import LATENT_STATISTICS
from emergence_assets.plan.asset_spec import stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.saes.spec import SAE, seed_folder
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.files.provenance import Required, canonical_json
from resources.files.storage import Storage


def _recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"probe_set": probe_recipe(study), "k": study.sae.k, "seeds": list(study.sae.seeds)}


def _carry_recipe(study: Study, storage: Storage, cell: Cell) -> Mapping[str, Any]:
    return {**_recipe(study, storage, cell), "n_boot": study.statistics.n_bootstrap, "seed": study.statistics.seed}


def _seeds_recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"seeds": list(study.sae.seeds)}


def blocks(study: Study, model: str) -> list[int]:
    """Layers whose latents are compared: the embedding is the same vector at every text."""
    return [layer for layer in study.layers_of(model) if layer >= 0]


def _model_facts(plan: Plan, model: str) -> Mapping[str, Any]:
    """Depth and size of a model, by the registered checkpoint of its last step."""
    cell = Cell(model, plan.steps_of(model)[-1])
    record = stored_provenance(CHECKPOINT, CHECKPOINT.path(plan.storage, cell))
    facts = record.summary if record else {}
    return {"model": model, "n_layers": facts["n_layers"], "n_params_nonemb": facts["n_params_nonemb"]}


def _sources(plan: Plan, model: str, steps: Sequence[int]) -> list[dict[str, Any]]:
    """Files of the cells of the given steps."""
    return [
        {
            "step": step,
            "layer": layer,
            "activation_file": str(ACTIVATIONS.path(plan.storage, Cell(model, step, layer))),
            "tokens_file": str(stored_tokens_file(plan, Cell(model, step, layer))),
            "sae_folders": {
                str(seed): str(seed_folder(SAE.path(plan.storage, Cell(model, step, layer)), seed))
                for seed in plan.study.sae.seeds
            },
            "latent_stats": str(LATENT_STATISTICS.path(plan.storage, Cell(model, step, layer))),
            "k": plan.study.sae.k,
        }
        for step in steps
        for layer in blocks(plan.study, model)
    ]


def _latents_file(plan: Plan, model: str) -> str:
    return str(plan.storage.model_table(table.MATCHED_LATENTS.name, model))


def _probes(plan: Plan) -> str:
    return canonical_json(plan.study.probe_set.model_dump())


def _edge_arguments(plan: Plan, cell: Cell, _required: Required) -> dict[str, Any]:
    model = str(cell.model)
    sources = _sources(plan, model, plan.steps_of(model))
    return {"sources": sources, "probes": _probes(plan), "facts": dict(_model_facts(plan, model))}


def _node_arguments(plan: Plan, cell: Cell, _required: Required) -> dict[str, Any]:
    model = str(cell.model)
    sources = _sources(plan, model, plan.steps_of(model))
    return {"sources": sources, "latents": _latents_file(plan, model), "model": model}


def _stability_arguments(plan: Plan, cell: Cell, _required: Required) -> dict[str, Any]:
    model = str(cell.model)
    return {"latents": _latents_file(plan, model), "facts": dict(_model_facts(plan, model))}


def _carry_arguments(plan: Plan, cell: Cell, _required: Required) -> dict[str, Any]:
    model = str(cell.model)
    sources = _sources(plan, model, plan.steps_of(model)[-1:])
    return {"sources": sources, "probes": _probes(plan), "facts": dict(_model_facts(plan, model))}


def _size_arguments(plan: Plan, _cell: Cell, _required: Required) -> dict[str, Any]:
    models = [
        {
            "facts": dict(_model_facts(plan, model)),
            "sources": _sources(plan, model, plan.steps_of(model)[-1:]),
            "edges": str(FEATURE_LINEAGE.path(plan.storage, Cell(model))),
            "latents": _latents_file(plan, model),
        }
        for model in plan.study.models
    ]
    return {"models": models, "probes": _probes(plan)}


FEATURE_LINEAGE = table_spec(
    table.FEATURE_LINEAGE,
    ("checkpoint", "activations", "sae", "latent_stats"),
    "emergence_assets.emergence.lineage.worker:make_feature_lineage",
    recipe=_recipe,
    arguments=_edge_arguments,
    checks=EDGE_CHECKS,
    beside=(table.MATCHED_LATENTS,),
)
LINEAGE_NODES = table_spec(
    table.LINEAGE_NODES,
    ("sae", "feature_lineage"),
    "emergence_assets.emergence.lineage.worker:make_lineage_nodes",
    recipe=_seeds_recipe,
    arguments=_node_arguments,
    checks=NODE_CHECKS,
)
LINEAGE_STABILITY = table_spec(
    stability_table.LINEAGE_STABILITY,
    ("checkpoint", "feature_lineage"),
    "emergence_assets.emergence.lineage.worker:make_lineage_stability",
    recipe=_seeds_recipe,
    arguments=_stability_arguments,
    checks=STABILITY_CHECKS,
)
LATENT_CARRY = table_spec(
    stability_table.LATENT_CARRY,
    ("checkpoint", "activations", "sae", "latent_stats", "feature_lineage", "lineage_stability"),
    "emergence_assets.emergence.lineage.worker:make_latent_carry",
    recipe=_carry_recipe,
    arguments=_carry_arguments,
    checks=CARRY_CHECKS,
)
SIZE_LINEAGE = table_spec(
    table.SIZE_LINEAGE,
    ("checkpoint", "activations", "sae", "latent_stats", "feature_lineage"),
    "emergence_assets.emergence.lineage.size_worker:make_size_lineage",
    grid="study",
    recipe=_recipe,
    arguments=_size_arguments,
    reads=(),
    checks=SIZE_CHECKS,
    beside=(stability_table.SIZE_STABILITY,),
    wanted=lambda study: len(study.models) > 1,
)
