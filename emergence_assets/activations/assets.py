"""Dagster assets: one activations asset per model, step × layer."""

from collections.abc import Sequence

import dagster as dg

from emergence_assets.activations.cell_frame import activation_frame
from emergence_assets.activations.cells import ACTIVATIONS, activation_tasks
from emergence_assets.activations.checks import ACTIVATION_CHECKS
from emergence_assets.automation import ACCELERATOR_POOL, ONE_RUN_PER_BACKFILL
from emergence_assets.cell_asset import CellAsset
from emergence_assets.materialise import build_asset
from emergence_assets.plan import Rule
from emergence_assets.study import Study

CAPTURED = CellAsset(
    rule=ACTIVATIONS,
    tasks=activation_tasks,
    checks=ACTIVATION_CHECKS,
    description="Residual stream of one layer of one checkpoint on training tokens and at the read-out of probe texts.",
    kinds=frozenset({"pytorch", "hdf5"}),
    pool=ACCELERATOR_POOL,
    backfill_policy=ONE_RUN_PER_BACKFILL,
    frame=activation_frame,
)


def build_assets(study: Study, rules: Sequence[Rule]) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [build_asset(CAPTURED, study, rules, model) for model in study.models]
