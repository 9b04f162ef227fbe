"""The emergence tables of one model as cells: sae_metrics, presence, time, space and reactivation."""

from collections.abc import Mapping, Sequence
from typing import Any

from emergence_assets.activations.spec import stored_tokens_file
from emergence_assets.emergence.table_spec import key_columns, table_rule
from emergence_assets.features.spec import presence_bytes, presence_cells_path
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.compute.task import Task
from resources.files.provenance import Required, canonical_json
from resources.files.records import required_to_json
from resources.files.storage import Storage


def _probes(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"probe_set": probe_recipe(study), "n_shuffles": study.statistics.n_shuffles}


def _presence_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    """A cell's share is as large as its presence table of one seed, and a value per seed more; all steps and layers."""
    n_cells = len(study.listed_steps or ()) * len(study.layers_of(str(cell.model)))
    return n_cells * presence_bytes(
        len(counts.category_sizes), study.statistics.n_bootstrap + len(study.sae.seeds), n_seeds=1
    )


CATEGORY_PRESENCE = table_rule(
    "category_presence",
    ("checkpoint", "activations", "latent_stats"),
    ("presence.worker:collect_presence",),
    _presence_bytes,
    recipe=_probes,
)


def presence_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per model."""
    from emergence_assets.features.spec import LATENT_STATISTICS

    work = []
    for cell, required in due:
        cells = plan.cells(LATENT_STATISTICS, cell.model)
        sources = [
            {
                **key_columns(plan, LATENT_STATISTICS, source),
                "file": str(presence_cells_path(plan.storage, source)),
                "done_by": str(LATENT_STATISTICS.path(plan.storage, source)),
            }
            for source in cells
        ]
        arguments = {
            "sources": sources,
            "probes": canonical_json(plan.study.probe_set.model_dump()),
            "tokens_file": str(stored_tokens_file(plan, cells[0])),
            "n_shuffles": plan.study.statistics.n_shuffles,
            "seed": plan.study.statistics.seed,
            "path": str(CATEGORY_PRESENCE.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        function, label = "emergence_assets.emergence.presence.worker:collect_presence", f"category_presence {cell}"
        work.append((Task(function, arguments, label, on_accelerator=False), [cell]))
    return work
