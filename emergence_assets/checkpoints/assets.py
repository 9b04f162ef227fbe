"""Dagster assets: one training run and one checkpoint asset per model."""

from collections.abc import Iterator, Sequence

import dagster as dg
import polars as pl

from emergence_assets.automation import ONE_RUN_PER_BACKFILL
from emergence_assets.checkpoints.cells import (
    CHECKPOINT,
    CHECKPOINT_REGISTRY,
    TRAINING_RUN,
    checkpoint_tasks,
    registry_tasks,
    training_tasks,
)
from emergence_assets.checkpoints.checks import CHECKPOINT_CHECKS, REGISTRY_CHECKS, TRAINING_CHECKS
from emergence_assets.checkpoints.inspection import measurement_tasks
from emergence_assets.checkpoints.listing import refresh_time_axis
from emergence_assets.checkpoints.schema import REGISTRY, rule_frame
from emergence_assets.family import TrainedHere
from emergence_assets.materialise import CellAsset, Intake, build_asset, materialise_models
from emergence_assets.partitions import asset_key, group_name, register_steps
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.provenance import code_version
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
    checkpoints = [
        build_asset(declared, study, rules, model)
        for declared in (REGISTERED, REGISTRY_ASSET)
        for model in study.models
    ]
    return [_training_runs(study, rules), *checkpoints] if isinstance(study.family, TrainedHere) else checkpoints


def _training_runs(study: Study, rules: Sequence[Rule]) -> dg.AssetsDefinition:
    """One definition for all models, so that one run trains them side by side, a process each."""
    keys = {asset_key(study, model, TRAINING_RUN.name): model for model in study.models}

    @dg.multi_asset(
        name=f"{study.name.replace('-', '_').replace('.', '_')}__training_run",
        specs=[
            dg.AssetSpec(
                key,
                group_name=group_name(model),
                description=TRAINING.description,
                kinds=set(TRAINING.kinds),
                code_version=code_version(*TRAINING_RUN.code),
                skippable=True,
            )
            for key, model in keys.items()
        ],
        check_specs=[
            dg.AssetCheckSpec(check.name, asset=key, description=check.description, blocking=check.blocking)
            for key in keys
            for check in TRAINING.checks
        ],
        can_subset=True,
        required_resource_keys={"storage", "compute"},
        op_tags={"stage": TRAINING_RUN.stage},
    )
    def training_run(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        selected = {key: keys[key] for key in keys if key in context.selected_asset_keys}
        for model in selected.values():
            register_steps(context.instance, study, model, study.listed_steps or [])
        yield from materialise_models(context, TRAINING, study, rules, selected)

    return training_run
