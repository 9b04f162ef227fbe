"""The claims of a study as a cell: one table, made from all tables that statements rest on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.cells import probe_recipe, probe_set
from emergence_assets.emergence.table_cells import table_rule, write_cell
from emergence_assets.plan import Cell, Plan
from emergence_assets.provenance import Required, canonical_json
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from resources.compute import Task
from resources.records import required_to_json
from resources.storage import Storage
from resources.tables import read_tables

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
    ("claim_cells:collect_claims",),
    _n_bytes,
    grid="study",
    recipe=_recipe,
)
RULES = (CLAIMS,)


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
        task = Task("emergence_assets.emergence.claim_cells:collect_claims", arguments, "claims", on_accelerator=False)
        work.append((task, [cell]))
    return work


def collect_claims(tables: dict[str, list[str]], probes: str, path: str, required: str, report: Any) -> None:
    """Worker: everything that may or may not be said, graded."""
    from emergence_assets.emergence.claims import Evidence, claims
    from emergence_assets.emergence.grading import GRADES
    from emergence_assets.emergence.tables.catalogue import CATALOGUE
    from emergence_assets.features.probe_categories import told_by_form

    # A family without second runs of a model has no table of them.
    read = {name: read_tables([Path(part) for part in tables.get(name, ())], CATALOGUE[name]) for name in EVIDENCE}
    evidence = Evidence(**read)
    texts = probe_set(probes)
    frame = claims(evidence, texts.levels[0], told_by_form(texts))
    counts = dict(frame.group_by("grade").len().iter_rows())
    summary = {f"grade_{grade}": counts.get(grade, 0) for grade in GRADES}
    write_cell(Path(path), frame, CATALOGUE[CLAIMS.name], required, {"statements": len(frame), **summary})
