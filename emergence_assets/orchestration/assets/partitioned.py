"""The body that partitioned assets share: ask the plan, hand the work out, record one event per finished cell, check.

Stages say what a cell is (`Rule`) and how it is made (`tasks`); this module knows neither tensors nor tables. Assets
without partitions: `materialise_tables`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from emergence_assets.orchestration.assets.checks import as_written, as_written_spec, nothing_made, severity, verdicts
from emergence_assets.orchestration.assets.conditions import ACCELERATOR_POOL, BACKFILL_POLICIES, RECOMPUTE_TAG, upkeep
from emergence_assets.orchestration.assets.data_docs import record_validation
from emergence_assets.orchestration.assets.events import Recorder
from emergence_assets.orchestration.instance.home import claim_run
from emergence_assets.orchestration.instance.partitions import (
    asset_key,
    cell_of,
    group_name,
    partition_key,
    partitions,
    remove_steps,
)
from emergence_assets.plan.asset_spec import CellAsset, Intake, Rule, Tasks
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.code_version import code_version
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.run_metadata import origin_of_run
from emergence_assets.study.study import Study
from resources.compute.task import Task
from resources.files.provenance import Required
from resources.files.storage import Storage

LOG_EVERY_SECONDS = 15.0


def build_asset(declared: CellAsset, study: Study, rules: Sequence[Rule], model: str) -> dg.AssetsDefinition:
    """The Dagster asset of one model for an asset with a partition per checkpoint, or per layer of one."""
    rule = declared.rule
    key = asset_key(study, model, rule.name)
    grid = partitions(study, model, rule.grid)
    parents = parent_keys(study, rules, rule, model)

    @dg.asset(
        key=key,
        deps=parents,
        partitions_def=grid,
        group_name=group_name(model),
        description=declared.description,
        kinds=set(declared.kinds),
        code_version=code_version(*rule.code),
        pool=ACCELERATOR_POOL if declared.on_accelerator else None,
        backfill_policy=BACKFILL_POLICIES[declared.backfill],
        # What comes from outside is delivered by its sensor; all else follows from what it is made from.
        automation_condition=upkeep() if parents else None,
        output_required=False,
        check_specs=[
            dg.AssetCheckSpec(
                check.name, asset=key, description=check.description, blocking=check.blocking, partitions_def=grid
            )
            for check in declared.checks
        ]
        + [as_written_spec(key)],
        required_resource_keys={"storage", "compute"},
        op_tags={"stage": rule.stage},
    )
    def cells(context: dg.AssetExecutionContext) -> Iterator[Any]:
        selected = [cell_of(model, name) for name in context.partition_keys]
        yield from materialise(context, declared, study, rules, key, selected)

    return cells


def parent_keys(study: Study, rules: Sequence[Rule], rule: Rule, model: str | None) -> list[dg.AssetKey]:
    """Keys of the assets that an asset of one model, or of the whole study, is made from."""
    shape = Plan(study, Storage(Path(), study.name), rules)  # which assets feed which; nothing is read
    return sorted({asset_key(study, name, source.name) for source, name in shape.sources(rule, model)})


def materialise(
    context: dg.AssetExecutionContext,
    declared: CellAsset,
    study: Study,
    rules: Sequence[Rule],
    key: dg.AssetKey,
    cells: Sequence[Cell],
) -> Iterator[Any]:
    """Make what is due of the selected cells, record an event for each, and yield check results.

    Raises:
        EmergenceError: an input is missing, or a cell could not be made; the finished ones stay recorded.
    """
    claim_run(context.instance, context.run)
    if declared.intake:
        left_out = _take_in(context, declared.intake, study, cells)
        cells = [cell for cell in cells if cell not in left_out]
        if not cells:
            yield from nothing_made(declared, key, "\n".join(left_out.values()))
            return
    plan = Plan(study, context.resources.storage, rules)
    required = [(cell, plan.demand_inputs(declared.rule, cell, together=set(cells))) for cell in cells]
    due = due_of(context, plan, declared.rule, required)
    due_cells = {cell for cell, _ in due}
    recorder = Recorder(context, plan, declared, key)
    single = len(cells) == 1
    kept = [cell for cell in cells if cell not in due_cells]
    if kept:
        context.log.info(f"{len(kept)} of {len(cells)} cells are up to date and are not computed again")
    if not single:
        for cell in kept:
            recorder.record(cell)
    for cell in make(context, declared, plan, due):
        if not single:
            recorder.record(cell)
    results = verdicts(declared, plan, cells)
    page = record_validation(plan, declared, cells, results, context.run_id)
    unaltered = as_written(declared.rule, plan, kept, key)
    if single:
        yield recorder.result(cells[0], [*(verdict.of_all(key, page) for verdict in results), unaltered])
        return
    yield unaltered
    for verdict in results:
        for cell in cells:
            # Works for check evaluations, with their partition, although the annotation does not say so; a run-less
            # event does not: its key lacks the run, so that a second check of the same partition is refused.
            context.log_event(
                dg.AssetCheckEvaluation(  # pyright: ignore[reportArgumentType]
                    asset_key=key,
                    check_name=verdict.finding.check.name,
                    passed=verdict.passes(cell),
                    metadata={},
                    severity=severity(verdict.finding.check),
                    partition=partition_key(cell),
                )
            )
        yield verdict.of_all(key, page)


def due_of(
    context: dg.AssetExecutionContext, plan: Plan, rule: Rule, required: Sequence[tuple[Cell, Required]]
) -> list[tuple[Cell, Required]]:
    """The cells that have to be made: all of them where the run says so."""
    force = context.run.tags.get(RECOMPUTE_TAG) == "true"
    return [(cell, want) for cell, want in required if force or plan.state(rule, cell).state != "done"]


def make(
    context: dg.AssetExecutionContext, declared: CellAsset, plan: Plan, due: Sequence[tuple[Cell, Required]]
) -> Iterator[Cell]:
    """Have cells made by the workers; yields each as soon as it is finished.

    Raises:
        EmergenceError: of the first that could not be made, after all others.
    """
    compute, report = context.resources.compute, _logger(context)
    origin, done = origin_of_run(context.run_id, plan.study), 0

    def finished(tasks: Tasks) -> Iterator[tuple[Task, Sequence[Cell]]]:
        work = tasks(plan, due)
        made_by = {task.label: made for task, made in work}
        for task, _ in compute.run([replace(task, origin=origin) for task, _ in work], report):
            yield task, made_by[task.label]

    for task, made in finished(declared.tasks):
        done += len(made)
        if declared.then is None:
            yield from made
        context.log.debug(f"{task.label} finished, {done} of {len(due)} cells")
    if declared.then is not None:
        for _, made in finished(declared.then):
            yield from made


def _take_in(context: dg.AssetExecutionContext, intake: Intake, study: Study, cells: Sequence[Cell]) -> dict[Cell, str]:
    """Look at what the cells are made of; those that may not be used lose their partition.

    Returns:
        Those of the cells, with the reason.
    """
    storage, models = context.resources.storage, dict.fromkeys(str(cell.model) for cell in cells)
    for model in models:
        intake.refresh(study, storage, model)
    for _ in context.resources.compute.run(intake.tasks(study, storage, cells), _logger(context)):
        pass
    axes = {model: intake.refresh(study, storage, model) for model in models}
    for model, axis in axes.items():
        for entry in axis.left_out:
            context.log.warning(f"{model} step {entry.step} is left out ({entry.status}): {entry.reason}")
        remove_steps(context.instance, study, model, [entry.step for entry in axis.left_out])
    left_out = {}
    for cell in cells:
        axis = axes[str(cell.model)]
        if cell.step not in axis.steps():
            entry = axis.entry(int(cell.step or 0))
            left_out[cell] = f"{cell} {f'is {entry.status}: {entry.reason}' if entry else 'is gone from its source'}"
    return left_out


def _logger(context: dg.AssetExecutionContext) -> Callable[[str, int, int, str], None]:
    last = time.monotonic()

    def report(label: str, done: int, total: int, note: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_EVERY_SECONDS:
            last = time.monotonic()
            context.log.info(f"{label}: {done} of {total} {note}")

    return report
