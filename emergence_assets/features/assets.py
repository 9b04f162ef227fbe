"""Dagster assets: one latent_stats asset per model, step × layer."""

from collections.abc import Sequence

import dagster as dg

from emergence_assets.automation import ONE_RUN_PER_BACKFILL
from emergence_assets.cell_asset import CellAsset
from emergence_assets.features.cells import LATENT_STATISTICS, statistics_tasks
from emergence_assets.features.checks import STATISTICS_CHECKS
from emergence_assets.materialise import build_asset
from emergence_assets.plan import Rule
from emergence_assets.study import Study

MEASURED = CellAsset(
    rule=LATENT_STATISTICS,
    tasks=statistics_tasks,
    checks=STATISTICS_CHECKS,
    description="How well each latent tells each category apart: chosen on one half of the texts, scored on the other.",
    kinds=frozenset({"polars", "parquet"}),
    backfill_policy=ONE_RUN_PER_BACKFILL,
)


def build_assets(study: Study, rules: Sequence[Rule]) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [build_asset(MEASURED, study, rules, model) for model in study.models]
