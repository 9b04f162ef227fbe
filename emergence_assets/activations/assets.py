"""Dagster assets: one activations asset per model, step × layer."""

from collections.abc import Sequence

import dagster as dg
import polars as pl

from emergence_assets.activations.cells import ACTIVATIONS, activation_tasks
from emergence_assets.activations.checks import ACTIVATION_CHECKS
from emergence_assets.automation import ACCELERATOR_POOL, ONE_RUN_PER_BACKFILL
from emergence_assets.cell_asset import CellAsset
from emergence_assets.cell_checks import summaries
from emergence_assets.materialise import build_asset
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.study import Study


def _with_expected_rows(plan: Plan, cells: Sequence[Cell]) -> pl.DataFrame:
    """Rows are those of the shared token file, equal in all cells: the first one says how many."""
    frame = summaries(ACTIVATIONS, plan, cells)
    return frame.with_columns(expected_n_rows=pl.col("n_rows").first(), expected_n_probes=pl.col("n_probes").first())


CAPTURED = CellAsset(
    rule=ACTIVATIONS,
    tasks=activation_tasks,
    checks=ACTIVATION_CHECKS,
    description="Residual stream of one layer of one checkpoint on training tokens and at the read-out of probe texts.",
    kinds=frozenset({"pytorch", "hdf5"}),
    pool=ACCELERATOR_POOL,
    backfill_policy=ONE_RUN_PER_BACKFILL,
    frame=_with_expected_rows,
)


def build_assets(study: Study, rules: Sequence[Rule]) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [build_asset(CAPTURED, study, rules, model) for model in study.models]
