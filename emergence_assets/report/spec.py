"""The report as a cell: a folder with the page, the charts as PNG, the headline as parquet, and its provenance."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from emergence_assets.emergence.presence.table import HEADLINE
from emergence_assets.plan.asset_spec import AssetSpec, Due, Job, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.lineage_id import cell_id
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.table_inputs import input_tables
from emergence_assets.report.checks import REPORT_CHECKS
from emergence_assets.report.data_quality import check_counts
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import study_probe_set
from resources.files.provenance import Required
from resources.files.records import folder_provenance, required_to_json, verify_folder
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
    "feature_use",
    "cost_utility",
    "claims",
    "lineage_stability",
)
"""Tables of which the report shows the sizes only, without replicates."""


def _report_recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"study": study.science()}


REPORT_BYTES = 1_600_000
"""Predicted bytes of the page with its inline charts, and of the charts as PNG."""


def _jobs(plan: Plan, due: Due) -> list[Job]:
    """Make one job; provenance and check results come from the stored cells."""
    return [Job(_arguments(plan, cell, required), (cell,), "report") for cell, required in due]


def _arguments(plan: Plan, cell: Cell, required: Required) -> dict[str, Any]:
    from emergence_assets.features.probe_quality.report import probe_report

    origin = [
        {
            "asset": source.name,
            "cell": str(source_cell),
            "lineage id": cell_id(stored.fingerprint),
            "fingerprint": stored.fingerprint,
            "code version": stored.required.code_version,
            "made": stored.created,
        }
        for source, source_cell in plan.input_cells(REPORT, cell)
        if (stored := stored_provenance(source, source.path(plan.storage, source_cell)))
    ]
    probes = study_probe_set(plan.study)
    primary = probes.levels[0]
    with_domain = probes.texts.select(primary, "domain").drop_nulls() if "domain" in probes.levels else pl.DataFrame()
    return {
        "folder": str(plan.storage.report_folder()),
        "required": required_to_json(required),
        "tables": input_tables(plan, REPORT, cell),
        "level": primary,
        "domains": dict(with_domain.unique().iter_rows()),
        "sizes": plan.study.sizes,
        "origin": origin,
        "checks": check_counts(plan, REPORT, cell),
        "texts": probe_report(plan.study, plan.storage).warnings,
        "seed": plan.study.sae.seeds[0],
        "data": str(plan.storage.data),
    }


REPORT = AssetSpec(
    name="report",
    stage="report",
    description="One HTML page with the finding, its controls and charts; opens without a network.",
    grid="study",
    inputs=("checkpoint_registry", *TABLES, "model_seeds", "latent_examples"),
    make="emergence_assets.report.page.worker:write_report",
    jobs=_jobs,
    tables=(HEADLINE,),
    recipe=_report_recipe,
    path=lambda storage, _cell: storage.report_folder(),
    stored=folder_provenance,
    verify=verify_folder,
    checks=REPORT_CHECKS,
    n_bytes=lambda _study, _cell, _counts: REPORT_BYTES,
    kinds=frozenset({"altair", "html"}),
)
SPECS = (REPORT,)
