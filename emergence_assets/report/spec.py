"""The report as a cell: a folder with the page, the charts as PNG, the headline as parquet, and its provenance."""

from collections.abc import Mapping, Sequence
from typing import Any

from emergence_assets.plan.asset_spec import CellAsset, Rule, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.lineage_id import cell_id
from emergence_assets.plan.plan import Plan
from emergence_assets.report.checks import REPORT_CHECKS
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import study_probe_set
from resources.compute.task import Task
from resources.files.provenance import Required
from resources.files.records import (
    folder_provenance,
    required_to_json,
    verify_folder,
)
from resources.files.storage import Storage

PAGE_NAME = "index.html"
HEADLINE_NAME = "headline.parquet"
TABLES = (
    "sae_metrics",
    "category_presence",
    "emergence_over_time",
    "emergence_hazard",
    "emergence_over_space",
    "emergence_over_scale",
    "reactivation",
    "reactivation_mechanism",
    "category_controls",
    "cost_utility",
    "claims",
    "lineage_stability",
)
REGISTRY_NAME = "checkpoint_registry"
SEEDS_NAME = "model_seeds"


def _report_recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"study": study.science()}


REPORT_BYTES = 1_600_000
"""The page with its charts, and the charts once more."""
REPORT = Rule(
    name="report",
    stage="report",
    grid="study",
    inputs=(REGISTRY_NAME, *TABLES, SEEDS_NAME),
    recipe=_report_recipe,
    code=("emergence_assets.report.page.worker:write_report",),
    path=lambda storage, _cell: storage.report_folder(),
    stored=folder_provenance,
    verify=verify_folder,
    n_bytes=lambda _study, _cell, _counts: REPORT_BYTES,
)


def report_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task."""
    work = []
    for cell, required in due:
        origin = []
        for source, source_cell in plan.input_cells(REPORT, cell):
            stored = stored_provenance(source, source.path(plan.storage, source_cell))
            if stored:
                origin.append(
                    {
                        "asset": source.name,
                        "cell": str(source_cell),
                        "lineage id": cell_id(stored.fingerprint),
                        "fingerprint": stored.fingerprint,
                        "code version": stored.required.code_version,
                        "made": stored.created,
                    }
                )
        probes = study_probe_set(plan.study)
        primary = probes.levels[0]
        domains = (
            dict(probes.texts.select(primary, "domain").drop_nulls().unique().iter_rows())
            if "domain" in probes.levels
            else {}
        )
        arguments = {
            "folder": str(plan.storage.report_folder()),
            "required": required_to_json(required),
            "tables": {name: _parts(plan, name) for name in (REGISTRY_NAME, *TABLES)},
            "level": primary,
            "domains": domains,
            "sizes": plan.study.sizes,
            "seeds": str(plan.rules[SEEDS_NAME].path(plan.storage, Cell())) if SEEDS_NAME in plan.rules else None,
            "origin": origin,
        }
        work.append(
            (
                Task("emergence_assets.report.page.worker:write_report", arguments, "report", on_accelerator=False),
                [cell],
            )
        )
    return work


def _parts(plan: Plan, name: str) -> list[str]:
    rule = plan.rules[name]
    return [str(rule.path(plan.storage, cell)) for cell in plan.cells(rule)]


PAGE = CellAsset(
    rule=REPORT,
    tasks=report_tasks,
    checks=REPORT_CHECKS,
    description="One HTML page with the finding, its controls and charts; opens without a network.",
    kinds=frozenset({"altair", "html"}),
)
ASSETS = (PAGE,)
