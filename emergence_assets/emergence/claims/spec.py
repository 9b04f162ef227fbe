"""The claims of a study as a cell: one table, made from all tables that statements rest on."""

from collections.abc import Mapping, Sequence
from typing import Any

from emergence_assets.emergence.table_spec import table_rule
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.compute.task import Task
from resources.files.provenance import Required, canonical_json
from resources.files.records import required_to_json
from resources.files.storage import Storage

EVIDENCE = (
    "checkpoint_registry",
    "category_presence",
    "category_controls",
    "emergence_over_time",
    "emergence_over_space",
    "reactivation",
    "reactivation_mechanism",
    "lineage_stability",
    "emergence_over_scale",
    "model_seeds",
)
"""Assets that statements rest on, named as the fields of `claims.Evidence`."""
CLAIM_BYTES, TABLE_BYTES = 45, 12_000
"""Of compressed parquet: a statement, and what the table takes."""


def _recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"probe_set": probe_recipe(study)}


def _n_bytes(study: Study, _cell: Cell, counts: TextCounts) -> float:
    return TABLE_BYTES + CLAIM_BYTES * len(study.models) * len(counts.category_sizes)


CLAIMS = table_rule(
    "claims",
    EVIDENCE,
    ("claims.worker:collect_claims",),
    _n_bytes,
    grid="study",
    recipe=_recipe,
)


def claim_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task."""
    work = []
    for cell, required in due:
        arguments = {
            "tables": {
                name: [str(rule.path(plan.storage, source)) for source in plan.cells(rule)]
                for name, rule in plan.rules.items()
                if name in EVIDENCE
            },
            "probes": canonical_json(plan.study.probe_set.model_dump()),
            "path": str(CLAIMS.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        task = Task(
            "emergence_assets.emergence.claims.worker:collect_claims", arguments, "claims", on_accelerator=False
        )
        work.append((task, [cell]))
    return work


HAZARD_TABLE_BYTES, HAZARD_GAP_BYTES = 6_000, 60.0
"""Of emergence_hazard: without rows, and the rows of a gap between checkpoints."""


def _hazard_bytes(study: Study, _cell: Cell, _counts: TextCounts) -> float:
    return HAZARD_TABLE_BYTES + HAZARD_GAP_BYTES * len(study.listed_steps or ())


EMERGENCE_HAZARD = table_rule(
    "emergence_hazard",
    ("category_presence", "emergence_over_time", "claims"),
    ("claims.hazard:emergence_hazard",),
    _hazard_bytes,
)
