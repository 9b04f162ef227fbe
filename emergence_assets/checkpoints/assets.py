"""Dagster assets: one training run and one checkpoint asset per model."""

from collections.abc import Sequence

import dagster as dg
import polars as pl

from emergence_assets.automation import ONE_RUN_PER_BACKFILL
from emergence_assets.cell_asset import CellAsset, Intake
from emergence_assets.checkpoints.cells import (
    CHECKPOINT,
    CHECKPOINT_REGISTRY,
    TRAINING_RUN,
    checkpoint_tasks,
    registry_tasks,
    training_tasks,
)
from emergence_assets.checkpoints.checks import CHECKPOINT_CHECKS, REGISTRY_CHECKS, TRAINING_CHECKS
from emergence_assets.checkpoints.identity import rule_frame
from emergence_assets.checkpoints.inspection import measurement_tasks
from emergence_assets.checkpoints.listing import refresh_time_axis
from emergence_assets.checkpoints.tables import REGISTRY
from emergence_assets.family import TrainedHere
from emergence_assets.materialise import build_asset
from emergence_assets.materialise_tables import build_tables
from emergence_assets.partitions import register_steps
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.study import Study
from resources.tables import read_table, read_tables

TRAINING = CellAsset(
    rule=TRAINING_RUN,
    tasks=training_tasks,
    checks=TRAINING_CHECKS,
    description="Trains the model on the WordNet glosses and writes a checkpoint at every step of the study.",
    kinds=frozenset({"pytorch"}),
)


REGISTERED = CellAsset(
    rule=CHECKPOINT,
    tasks=checkpoint_tasks,
    checks=CHECKPOINT_CHECKS,
    description="A checkpoint that is what it claims to be: whole, finite, on the trajectory of the others; identified "
    "by the hash of its files. Those that are not have no partition and stand in checkpoint_registry.",
    kinds=frozenset({"huggingface", "safetensors"}),
    backfill_policy=ONE_RUN_PER_BACKFILL,
    intake=Intake(refresh_time_axis, measurement_tasks),
)


def _registry_rows(plan: Plan, cells: Sequence[Cell]) -> pl.DataFrame:
    """The registry with a column per identity rule that says whether the step passes it."""
    table = read_tables([CHECKPOINT_REGISTRY.path(plan.storage, cell) for cell in cells], REGISTRY)
    return rule_frame(table)


def _heat_map(plan: Plan, cell: Cell) -> bytes | None:
    from emergence_assets.checkpoints.heat_map import registry_picture

    table = read_table(CHECKPOINT_REGISTRY.path(plan.storage, cell), REGISTRY)
    return registry_picture(table, str(cell.model))


REGISTRY_ASSET = CellAsset(
    rule=CHECKPOINT_REGISTRY,
    tasks=registry_tasks,
    checks=REGISTRY_CHECKS,
    description=REGISTRY.description,
    kinds=frozenset({"polars", "parquet"}),
    frame=_registry_rows,
    picture=_heat_map,
)


def build_assets(study: Study, rules: Sequence[Rule]) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""

    def register(context: dg.AssetExecutionContext, cells: Sequence[Cell]) -> None:
        for cell in cells:
            register_steps(context.instance, study, str(cell.model), study.listed_steps or [])

    trained = [build_tables(TRAINING, study, rules, before=register)] if isinstance(study.family, TrainedHere) else []
    checkpoints = [build_asset(REGISTERED, study, rules, model) for model in study.models]
    return [*trained, *checkpoints, build_tables(REGISTRY_ASSET, study, rules)]
