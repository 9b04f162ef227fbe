"""The table `compression_retention` as a cell; only of studies that ask for it (`compression` in the study file)."""

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

TABLE_BYTES, ROW_BYTES = 10_800, 100
"""Of compressed parquet: columns with their statistics, and a version at a layer."""


def _recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any] | None:
    if study.compression is None:
        return None
    return {
        "compression": study.compression.model_dump(),
        "probe_set": probe_recipe(study),
        "seeds": list(study.sae.seeds),
        "n_bootstrap": study.statistics.n_bootstrap,
        "seed": study.statistics.seed,
    }


def _bytes(study: Study, cell: Cell, _counts: TextCounts) -> float:
    n_variants = len(study.compression.variants) if study.compression else 0
    n_layers = len(study.layers_of(str(cell.model)))
    return TABLE_BYTES + ROW_BYTES * n_layers * (2 + 2 * n_variants)


COMPRESSION_RETENTION = table_rule(
    "compression_retention",
    ("checkpoint", "sae", "latent_stats"),
    ("compression.worker:compress_model",),
    _bytes,
    recipe=_recipe,
)


def compression_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per model."""
    work = []
    for cell, required in due:
        arguments = last_checkpoint_arguments(plan, cell, required)
        arguments["path"] = str(COMPRESSION_RETENTION.path(plan.storage, cell))
        label = f"compression_retention {cell}"
        work.append((Task("emergence_assets.emergence.compression.worker:compress_model", arguments, label), [cell]))
    return work
