"""Lineages of latents as cells: per model edges, lineages, stability, what early layers carry on; edges between sizes.

Making them is in `worker.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.spec import ACTIVATIONS, stored_tokens_file
from emergence_assets.checkpoints.spec import CHECKPOINT
from emergence_assets.emergence.table_spec import table_rule
from emergence_assets.features.spec import LATENT_STATISTICS
from emergence_assets.plan.asset_spec import Rule, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.saes.spec import SAE, seed_folder
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.compute.task import Task
from resources.files.provenance import Required, canonical_json
from resources.files.records import required_to_json
from resources.files.storage import Storage

TABLE_BYTES, EDGE_BYTES, LATENT_BYTES, NODE_BYTES, STABILITY_BYTES, CARRY_BYTES = 9_000, 23, 3, 21, 55, 70
"""Of compressed parquet: what any table takes, and its rows."""
SUPPORTED, MATCHED = 0.55, 0.2
"""Share of a dictionary with enough active texts, and of these with an edge; of an embedded study, 2026-11-27."""
CARRIED = 0.08
"""Share of latents with a match in a layer far away."""
EDGES_PER_LINEAGE = 18
"""Most edges are of the same seed or of a pair that goes no further."""


def _recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"probe_set": probe_recipe(study), "k": study.sae.k, "seeds": list(study.sae.seeds)}


def _carry_recipe(study: Study, storage: Storage, cell: Cell) -> Mapping[str, Any]:
    return {**_recipe(study, storage, cell), "n_boot": study.statistics.n_bootstrap, "seed": study.statistics.seed}


def _seeds_recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"seeds": list(study.sae.seeds)}


def matched_latents_path(storage: Storage, model: str) -> Path:
    """Who could be matched; written before the edges, whose file marks both as done."""
    return storage.model_table("matched_latents", model)


def _n_saes(study: Study, cell: Cell) -> int:
    return len(study.listed_steps or ()) * len(blocks(study, str(cell.model))) * len(study.sae.seeds)


def _n_edges(study: Study, cell: Cell) -> float:
    """With the next step, by the same seed and another; with another seed."""
    several = len(study.sae.seeds) > 1
    return _n_saes(study, cell) * (2.5 if several else 1) * study.sae.n_latents * SUPPORTED * MATCHED


def _edges_bytes(study: Study, cell: Cell, _counts: TextCounts) -> float:
    n_latents = _n_saes(study, cell) * study.sae.n_latents * SUPPORTED
    return 2 * TABLE_BYTES + EDGE_BYTES * _n_edges(study, cell) + LATENT_BYTES * n_latents


def _nodes_bytes(study: Study, cell: Cell, _counts: TextCounts) -> float:
    return TABLE_BYTES + NODE_BYTES * _n_edges(study, cell) / EDGES_PER_LINEAGE


def _stability_bytes(study: Study, cell: Cell, _counts: TextCounts) -> float:
    return TABLE_BYTES + STABILITY_BYTES * _n_saes(study, cell) * 2


def _carry_bytes(study: Study, cell: Cell, _counts: TextCounts) -> float:
    n_pairs = len(blocks(study, str(cell.model))) ** 2 / 9 * len(study.sae.seeds)
    return TABLE_BYTES + CARRY_BYTES * n_pairs * study.sae.n_latents * SUPPORTED * CARRIED


def blocks(study: Study, model: str) -> list[int]:
    """Layers whose latents are compared: the embedding is the same vector at every text."""
    return [layer for layer in study.layers_of(model) if layer >= 0]


FEATURE_LINEAGE = table_rule(
    "feature_lineage",
    ("checkpoint", "activations", "sae", "latent_stats"),
    ("lineage.worker:make_feature_lineage",),
    _edges_bytes,
    recipe=_recipe,
    also=lambda storage, cell: (matched_latents_path(storage, str(cell.model)),),
)
LINEAGE_NODES = table_rule(
    "lineage_nodes",
    ("sae", "feature_lineage"),
    ("lineage.worker:make_lineage_nodes",),
    _nodes_bytes,
    recipe=_seeds_recipe,
)
LINEAGE_STABILITY = table_rule(
    "lineage_stability",
    ("checkpoint", "feature_lineage"),
    ("lineage.worker:make_lineage_stability",),
    _stability_bytes,
    recipe=_seeds_recipe,
)
LATENT_CARRY = table_rule(
    "latent_carry",
    ("checkpoint", "activations", "sae", "latent_stats", "feature_lineage", "lineage_stability"),
    ("lineage.worker:make_latent_carry",),
    _carry_bytes,
    recipe=_carry_recipe,
)


def size_stability_path(storage: Storage) -> Path:
    """Shares of latents that the next larger model has too; written before the edges, whose file marks both as done."""
    return storage.study_table("size_stability")


def _size_bytes(study: Study, _cell: Cell, _counts: TextCounts) -> float:
    pairs = sum(len(blocks(study, model)) for model in study.models) * len(study.sae.seeds)
    return 2 * TABLE_BYTES + pairs * (STABILITY_BYTES + EDGE_BYTES * study.sae.n_latents * SUPPORTED * MATCHED)


SIZE_LINEAGE = table_rule(
    "size_lineage",
    ("checkpoint", "activations", "sae", "latent_stats", "feature_lineage"),
    ("lineage.size_worker:make_size_lineage",),
    _size_bytes,
    grid="study",
    recipe=_recipe,
    also=lambda storage, _cell: (size_stability_path(storage),),
)

RULES = (FEATURE_LINEAGE, LINEAGE_NODES, LINEAGE_STABILITY, LATENT_CARRY, SIZE_LINEAGE)


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


def lineage_tasks(rule: Rule) -> Callable[[Plan, Sequence[tuple[Cell, Required]]], list[tuple[Task, Sequence[Cell]]]]:
    """One task per model for one of the tables."""

    def tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
        work = []
        for cell, required in due:
            arguments = {
                "path": str(rule.path(plan.storage, cell)),
                "required": required_to_json(required),
                **(_size_arguments(plan) if rule is SIZE_LINEAGE else _arguments(plan, rule, str(cell.model))),
            }
            module = "size_worker" if rule is SIZE_LINEAGE else "worker"
            function = f"emergence_assets.emergence.lineage.{module}:make_{rule.name}"
            work.append((Task(function, arguments, f"{rule.name} {cell}", on_accelerator=False), [cell]))
        return work

    return tasks


def _arguments(plan: Plan, rule: Rule, model: str) -> dict[str, Any]:
    steps, facts = plan.steps_of(model), dict(_model_facts(plan, model))
    latents = str(matched_latents_path(plan.storage, model))
    edges = str(FEATURE_LINEAGE.path(plan.storage, Cell(model)))
    if rule is FEATURE_LINEAGE:
        probes = canonical_json(plan.study.probe_set.model_dump())
        return {"sources": _sources(plan, model, steps), "probes": probes, "latents": latents, "facts": facts}
    if rule is LATENT_CARRY:
        probes = canonical_json(plan.study.probe_set.model_dump())
        stability = str(LINEAGE_STABILITY.path(plan.storage, Cell(model)))
        read = {"sources": _sources(plan, model, steps[-1:]), "probes": probes}
        return {**read, "edges": edges, "stability": stability, "facts": facts}
    if rule is LINEAGE_NODES:
        return {"sources": _sources(plan, model, steps), "edges": edges, "latents": latents, "model": model}
    return {"edges": edges, "latents": latents, "facts": facts}


def _size_arguments(plan: Plan) -> dict[str, Any]:
    models = [
        {
            "facts": dict(_model_facts(plan, model)),
            "sources": _sources(plan, model, plan.steps_of(model)[-1:]),
            "edges": str(FEATURE_LINEAGE.path(plan.storage, Cell(model))),
            "latents": str(matched_latents_path(plan.storage, model)),
        }
        for model in plan.study.models
    ]
    probes = canonical_json(plan.study.probe_set.model_dump())
    return {"models": models, "probes": probes, "shares": str(size_stability_path(plan.storage))}
