"""Dagster assets: one sae asset per model, step × layer."""

from collections.abc import Sequence

import dagster as dg

from emergence_assets.automation import ACCELERATOR_POOL, SOME_CELLS_PER_RUN
from emergence_assets.cell_asset import CellAsset
from emergence_assets.materialise import build_asset
from emergence_assets.plan import Rule
from emergence_assets.saes.cells import SAE, sae_tasks
from emergence_assets.saes.checks import SAE_CHECKS
from emergence_assets.study import Study

TRAINED = CellAsset(
    rule=SAE,
    tasks=sae_tasks,
    checks=SAE_CHECKS,
    description="Sparse autoencoders of one layer of one checkpoint, one per seed, in the layout that sae_lens loads.",
    kinds=frozenset({"pytorch", "safetensors"}),
    pool=ACCELERATOR_POOL,
    backfill_policy=SOME_CELLS_PER_RUN,
)


def build_assets(study: Study, rules: Sequence[Rule]) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [build_asset(TRAINED, study, rules, model) for model in study.models]
