"""Assets with partitions: a Dagster asset per model, whose body makes, records and validates stale or missing cells."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from emergence_assets.orchestration.assets.checks import (
    as_written,
    check_specs,
    dagster_result,
    nothing_made,
    severity,
)
from emergence_assets.orchestration.assets.conditions import (
    ACCELERATOR_POOL,
    RECOMPUTE_TAG,
    backfill_policy,
    upkeep,
)
from emergence_assets.orchestration.assets.events import Recorder
from emergence_assets.orchestration.assets.progress import listener_of, logged_report
from emergence_assets.orchestration.instance.dead_runs import tag_run_owner
from emergence_assets.orchestration.instance.partitions import (
    asset_key,
    partition_key,
    partitions,
    remove_steps,
)
from emergence_assets.plan.asset_spec import AssetSpec, Due, Validation
from emergence_assets.plan.cell import Cell, cell_of
from emergence_assets.plan.code_version import code_version
from emergence_assets.plan.plan import Plan, upstream
from emergence_assets.plan.run_metadata import run_metadata
from emergence_assets.study.study import Study
from resources.compute.task import Task

RESOURCES = {"plan", "compute", "progress"}
"""Dagster resources of every asset: the plan of the run, its workers, and its progress listener."""


def build_partitioned(spec: AssetSpec, study: Study, specs: Sequence[AssetSpec], model: str) -> dg.AssetsDefinition:
    """Make the Dagster asset of one model with a partition per checkpoint, or per checkpoint and layer."""
    key = asset_key(study, model, spec.name)
    grid = partitions(study, model, spec.grid)
    parents = parent_keys(study, specs, spec, model)

    @dg.asset(
        key=key,
        deps=parents,
        partitions_def=grid,
        group_name=spec.stage,
        description=spec.description,
        kinds=set(spec.kinds),
        code_version=code_version(*spec.code),
        pool=ACCELERATOR_POOL if spec.on_accelerator else None,
        backfill_policy=backfill_policy(spec),
        # Sensors request assets without inputs; all other assets follow from their inputs.
        automation_condition=upkeep() if parents else None,
        output_required=False,
        # Without partitions: Dagster would plan an evaluation of every partition, and most pass.
        check_specs=check_specs(spec, key),
        required_resource_keys=RESOURCES,
        op_tags={"stage": spec.stage},
    )
    def cells(context: dg.AssetExecutionContext) -> Iterator[Any]:
        selected = [cell_of(model, name) for name in context.partition_keys]
        yield from _materialise(context, context.resources.plan, spec, key, selected)

    return cells


def parent_keys(study: Study, specs: Sequence[AssetSpec], spec: AssetSpec, model: str | None) -> list[dg.AssetKey]:
    """Return the keys of the input assets of an asset of one model, or of the whole study."""
    return sorted({asset_key(study, name, source.name) for source, name in upstream(study, specs, spec, model)})


def _materialise(
    context: dg.AssetExecutionContext, plan: Plan, spec: AssetSpec, key: dg.AssetKey, cells: Sequence[Cell]
) -> Iterator[Any]:
    """Make the stale or missing cells among the selected cells, record an event for each, and yield check results.

    Raises:
        EmergenceError: an input is missing, or a cell could not be made; finished cells stay recorded.
    """
    tag_run_owner(context.instance, context.run)
    n_selected = len(cells)
    if spec.validation:
        left_out = _validate_checkpoints(context, plan, spec.validation, cells)
        cells = [cell for cell in cells if cell not in left_out]
        if not cells:
            yield from nothing_made(spec, key, "\n".join(left_out.values()))
            return
    required = [(cell, plan.demand_inputs(spec, cell, together=set(cells))) for cell in cells]
    due = due_of(context, plan, spec, required)
    due_cells = {cell for cell, _ in due}
    recorder = Recorder(context, plan, spec, key)
    # For a result with an output Dagster reads the range of the run, whose ends may just have lost their partitions.
    single = n_selected == 1
    kept = [cell for cell in cells if cell not in due_cells]
    if kept:
        context.log.info(f"{len(kept)} of {len(cells)} cells are up to date and are not computed again")
    if not single:
        for cell in kept:
            recorder.record(cell)
    listener = listener_of(context)
    listener.changed("began", context.run.run_id, spec, cells)
    try:
        for cell in _make(context, plan, spec, due):
            if not single:
                recorder.record(cell)
    except BaseException:
        listener.changed("failed", context.run.run_id, spec, cells)
        raise
    finally:
        plan.forget_states()
    results = plan.judge(spec, cells)
    unaltered = as_written(spec, plan, kept, key)
    listener.changed("ended", context.run.run_id, spec, cells)
    if single:
        yield recorder.result(cells[0], [*(dagster_result(result, key) for result in results), unaltered])
        return
    yield unaltered
    failed_before = _failed_partitions(context.instance, spec, key, cells)
    for result in results:
        for cell in cells:
            passed = result.passes(cell)
            if passed and (result.finding.check.name, partition_key(cell)) not in failed_before:
                continue  # most cells pass: six of seven events would only repeat it
            # `log_event` accepts check evaluations with a partition, in spite of its annotation. An event without a run
            # does not work: its key lacks the run, so that a second check of the same partition is refused.
            context.log_event(
                dg.AssetCheckEvaluation(  # pyright: ignore[reportArgumentType]
                    asset_key=key,
                    check_name=result.finding.check.name,
                    passed=passed,
                    metadata={},
                    severity=severity(result.finding.check),
                    partition=partition_key(cell),
                )
            )
        counts = {"cells": len(cells), "cells that fail": sum(not result.passes(cell) for cell in cells)}
        yield dagster_result(result, key, counts=counts)


def _failed_partitions(
    instance: dg.DagsterInstance, spec: AssetSpec, key: dg.AssetKey, cells: Sequence[Cell]
) -> set[tuple[str, str]]:
    """Return the checks whose last result for a partition of these cells is a failure, as (check, partition key)."""
    keys = [dg.AssetCheckKey(key, check.name) for check in spec.checks]
    latest = instance.event_log_storage.get_asset_check_partition_info(
        keys, partition_keys=[partition_key(cell) for cell in cells]
    )
    return {
        (one.check_key.name, one.partition_key)
        for one in latest
        if one.partition_key and one.latest_execution_status.value == "FAILED"
    }


def due_of(context: dg.AssetExecutionContext, plan: Plan, spec: AssetSpec, required: Due) -> Due:
    """Return the cells that have to be made; with RECOMPUTE_TAG, all of them."""
    force = context.run.tags.get(RECOMPUTE_TAG) == "true"
    return [(cell, want) for cell, want in required if force or plan.state(spec, cell).state != "done"]


def _make(context: dg.AssetExecutionContext, plan: Plan, spec: AssetSpec, due: Due) -> Iterator[Cell]:
    """Make cells in the workers and yield each cell as soon as it is finished.

    Raises:
        EmergenceError: of the first cell that could not be made, after all other cells.
    """
    metadata = run_metadata(context.run.run_id, plan.study)
    jobs = {job.label: job for job in spec.jobs(plan, due)}
    tasks = [
        Task(spec.make, job.arguments, job.label, spec.on_accelerator, metadata, job.fetch) for job in jobs.values()
    ]
    for done, (task, _) in enumerate(context.resources.compute.run(tasks, logged_report(context)), 1):
        context.log.debug(f"{task.label} finished, {done} of {len(jobs)} jobs")
        yield from jobs[task.label].cells


def _validate_checkpoints(
    context: dg.AssetExecutionContext, plan: Plan, validation: Validation, cells: Sequence[Cell]
) -> dict[Cell, str]:
    """Measure and validate the checkpoints of the cells; a checkpoint that is left out loses its partition.

    Returns:
        The cells that are left out, with the reason.
    """
    study, storage = plan.study, plan.storage
    models = dict.fromkeys(str(cell.model) for cell in cells)
    for _ in context.resources.compute.run(validation.tasks(study, storage, cells), logged_report(context)):
        pass
    timelines = {model: validation.refresh(study, storage, model) for model in models}
    plan.reload()
    for model, timeline in timelines.items():
        for entry in timeline.left_out:
            context.log.warning(f"{model} step {entry.step} is left out ({entry.status}): {entry.reason}")
        remove_steps(context.instance, study, model, [entry.step for entry in timeline.left_out])
    left_out = {}
    for cell in cells:
        timeline = timelines[str(cell.model)]
        if cell.step not in timeline.steps():
            entry = timeline.entry(int(cell.step or 0))
            left_out[cell] = f"{cell} {f'is {entry.status}: {entry.reason}' if entry else 'is no longer at its source'}"
    return left_out
