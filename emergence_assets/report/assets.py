"""Dagster assets: the report of the study."""

from collections.abc import Sequence

import dagster as dg

from emergence_assets.cell_asset import CellAsset
from emergence_assets.materialise_tables import build_tables
from emergence_assets.plan import Rule
from emergence_assets.report.cells import REPORT, report_tasks
from emergence_assets.report.checks import REPORT_CHECKS
from emergence_assets.study import Study

PAGE = CellAsset(
    rule=REPORT,
    tasks=report_tasks,
    checks=REPORT_CHECKS,
    description="One HTML page with the finding, its controls and charts; opens without a network.",
    kinds=frozenset({"altair", "html"}),
)


def build_assets(study: Study, rules: Sequence[Rule]) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [build_tables(PAGE, study, rules)]
