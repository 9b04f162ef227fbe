"""Dagster assets: one training run and one checkpoint asset per model."""

from collections.abc import Iterator, Sequence

import dagster as dg
import polars as pl

from emergence_assets.automation import ONE_RUN_PER_BACKFILL
from emergence_assets.checkpoints.cells import CHECKPOINT, TRAINING_RUN, checkpoint_tasks, training_tasks
from emergence_assets.checkpoints.checks import CHECKPOINT_CHECKS, TRAINING_CHECKS
from emergence_assets.materialise import CellAsset, build_asset, materialise_models, summaries
from emergence_assets.partitions import asset_key, group_name, register_steps
from emergence_assets.plan import Cell, Plan, Rule, stored_provenance
from emergence_assets.provenance import code_version
from emergence_assets.study import Study, TrainedHere

TRAINING = CellAsset(
    rule=TRAINING_RUN,
    tasks=training_tasks,
    checks=TRAINING_CHECKS,
    description="Trains the model on the WordNet glosses and writes a checkpoint at every step of the study.",
    kinds=frozenset({"pytorch"}),
)


def _all_records(plan: Plan, cells: Sequence[Cell]) -> pl.DataFrame:
    """Every registered checkpoint of the models at hand, because uniqueness is a claim about all of them."""
    models = dict.fromkeys(cell.model for cell in cells)
    parts = []
    for model in models:
        registered = [
            cell
            for cell in plan.cells(CHECKPOINT, model)
            if stored_provenance(CHECKPOINT, CHECKPOINT.path(plan.storage, cell))
        ]
        frame = summaries(CHECKPOINT, plan, registered)
        first = [pl.col(name).first().alias(f"first_{name}") for name in ("n_layers", "d_model", "n_params")]
        parts.append(frame.with_columns(first))
    return pl.concat(parts)


REGISTERED = CellAsset(
    rule=CHECKPOINT,
    tasks=checkpoint_tasks,
    checks=CHECKPOINT_CHECKS,
    description="A checkpoint whose files were found whole, finite and fitting their config; identified by its hash.",
    kinds=frozenset({"huggingface", "safetensors"}),
    backfill_policy=ONE_RUN_PER_BACKFILL,
    frame=_all_records,
)


def build_assets(study: Study, rules: Sequence[Rule]) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    checkpoints = [build_asset(REGISTERED, study, rules, model) for model in study.models]
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
            register_steps(context.instance, study, model, study.steps)
        yield from materialise_models(context, TRAINING, study, rules, selected)

    return training_run
