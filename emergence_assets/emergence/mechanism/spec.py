"""The table `reactivation_mechanism` as a cell: one pass of a model's last checkpoint over its probe texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from emergence_assets.emergence.last_checkpoint import last_checkpoint_arguments
from emergence_assets.emergence.table_spec import table_rule
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.compute.task import Task
from resources.files.provenance import Required
from resources.files.storage import Storage

TABLE_BYTES, ROW_BYTES = 17_500, 400
"""Of compressed parquet: columns with their statistics, and a category."""
MIN_LAYERS = 3
"""Fewer have no middle, and no rows of categories."""


def _recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {
        "mechanism": study.mechanism.model_dump(),
        "probe_set": probe_recipe(study),
        "seeds": list(study.sae.seeds),
        "n_bootstrap": study.statistics.n_bootstrap,
        "seed": study.statistics.seed,
    }


def _bytes(study: Study, cell: Cell, _counts: TextCounts) -> float:
    n_rows = study.mechanism.n_categories if len(study.layers_of(str(cell.model))) >= MIN_LAYERS else 1
    return TABLE_BYTES + ROW_BYTES * n_rows


REACTIVATION_MECHANISM = table_rule(
    "reactivation_mechanism",
    ("checkpoint", "activations", "sae", "latent_stats"),
    ("mechanism.worker:measure_model",),
    _bytes,
    recipe=_recipe,
)


def mechanism_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per model."""
    work = []
    for cell, required in due:
        arguments = last_checkpoint_arguments(plan, cell, required)
        arguments["path"] = str(REACTIVATION_MECHANISM.path(plan.storage, cell))
        label = f"reactivation_mechanism {cell}"
        work.append((Task("emergence_assets.emergence.mechanism.worker:measure_model", arguments, label), [cell]))
    return work
