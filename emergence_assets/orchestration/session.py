"""Operations of the command line on the Dagster instance of a study: prepare it, run the study, read its status."""

import contextlib
from collections.abc import Sequence
from typing import Any

import dagster as dg

from emergence_assets.emergence.presence.table import HEADLINE
from emergence_assets.features.probe_quality.report import probe_report
from emergence_assets.orchestration.build import build_definitions
from emergence_assets.orchestration.instance.dead_runs import close_dead_runs
from emergence_assets.orchestration.instance.home import open_instance, prepare_home
from emergence_assets.orchestration.instance.interruption import interruptions_kept
from emergence_assets.orchestration.instance.partitions import asset_key, partitions
from emergence_assets.orchestration.runs.openlineage import OpenLineageSender, openlineage_address
from emergence_assets.orchestration.runs.study_run import run_study, update_partitions
from emergence_assets.plan.cell import Cell, cell_of
from emergence_assets.plan.listeners import Listener, Listeners, ListeningCompute, ProgressListener, Stopwatch
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.status import AssetStatus, study_status
from emergence_assets.report.spec import HEADLINE_NAME, PAGE_NAME
from emergence_assets.saes.row_storage import follow_retention
from resources.compute.choice import chosen_compute
from resources.files.records import folder_provenance
from resources.files.storage import Storage, is_writable, prepare_folder
from resources.tables.parquet import read_table


def prepare_instance(plan: Plan) -> None:
    """Prepare the data folder and the instance, with all partitions of the study."""
    home = prepare_home(plan.storage.data)
    prepare_folder(plan.storage.root)
    with open_instance(home) as instance:
        close_dead_runs(instance)
        update_partitions(plan, instance)


def run_and_summarise(
    plan: Plan,
    progress: ProgressListener,
    stages: Sequence[str] | None = None,
    openlineage: str | None = None,
    *,
    again: bool = False,
) -> dict[str, Any]:
    """Make all stale or missing cells.

    Args:
        plan: plan of the study.
        progress: listener of the run.
        stages: names of the stages; all by default.
        openlineage: address of a receiver of OpenLineage events; by default OPENLINEAGE_URL, else no receiver.
        again: make the cells anew that failed a blocking check.

    Returns:
        Plain values: cells made and seconds by asset, warnings, and the headline where a report exists.
    """
    address = openlineage_address(openlineage)
    home = prepare_home(plan.storage.data)
    prepare_folder(plan.storage.root)
    watch, sender = Stopwatch(), None
    with (
        interruptions_kept(),
        open_instance(home) as instance,
        chosen_compute(plan.storage.data) as workers,
        contextlib.ExitStack() as opened,
    ):
        plan.n_accelerators = workers.n_accelerators
        listeners: list[Listener] = [progress, watch]
        if address:
            sender = opened.enter_context(OpenLineageSender(address, plan))
            listeners.append(sender)
        listener = Listeners(*listeners)
        compute = ListeningCompute(workers, progress)
        definitions = build_definitions(plan.study, plan.storage, plan, compute, listener)
        outcome = run_study(plan, definitions, instance, listener, stages, again=again)
    if sender and sender.lost:
        outcome.warnings.append(f"{sender.lost} OpenLineage events were not received: {sender.problem or 'no time'}")
    plan.forget_states()
    follow_retention(plan, progress)
    return {
        "study": plan.study.name,
        "made": outcome.made,
        "warnings": outcome.warnings,
        "left_out": outcome.left_out,
        "seconds": watch.seconds,
        "working_seconds": compute.working_seconds,
        # Only in runs that made the numbers which the warnings concern.
        "text_warnings": probe_report(plan.study, plan.storage).warnings if outcome.made.get("latent_stats") else [],
    } | _reported(plan.storage)


def _reported(storage: Storage) -> dict[str, Any]:
    """Return the headline, level and path of the report; empty without a report."""
    folder = storage.report_folder()
    record = folder_provenance(folder)
    if record is None:
        return {}
    return {
        "headline": read_table(folder / HEADLINE_NAME, HEADLINE).to_dicts(),
        "level": str(record.summary["level"]),
        "report": str(folder / PAGE_NAME),
    }


def status_of_study(plan: Plan) -> list[AssetStatus]:
    """Count the cells of every asset by state.

    In a data folder that cannot be written the event log cannot be opened: its last attempts are not counted as failed.
    """
    if not is_writable(plan.storage.data):
        return study_status(plan, frozenset())
    with open_instance(prepare_home(plan.storage.data)) as instance:
        return study_status(plan, _failed(plan, instance))


def _failed(plan: Plan, instance: dg.DagsterInstance) -> frozenset[tuple[str, str]]:
    """Return the cells whose last attempt failed according to the event log, as (asset, cell)."""
    failed: set[tuple[str, str]] = set()
    tables: dict[dg.AssetKey, tuple[str, str]] = {}
    for spec in plan.specs.values():
        for model in spec.models(plan.study):
            key = asset_key(plan.study, model, spec.name)
            grid = partitions(plan.study, model, spec.grid) if model else None
            if grid is None:
                tables[key] = (spec.name, str(Cell(model)))
                continue
            keys = grid.get_partition_keys(dynamic_partitions_store=instance)
            statuses = instance.get_status_by_partition(key, keys, grid) or {}
            failed |= {
                (spec.name, str(cell_of(str(model), partition)))
                for partition, status in statuses.items()
                if status is not None and status.value == "FAILED"
            }
    return frozenset(failed | {tables[key] for key in _last_run_failed(instance, list(tables))})


def _last_run_failed(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> list[dg.AssetKey]:
    """Return the assets without partitions whose last run failed."""
    entries = [record.asset_entry for record in instance.get_asset_records(keys)]
    wanted = dg.RunsFilter(list({entry.last_run_id for entry in entries if entry.last_run_id}))
    failed = {run.run_id for run in instance.get_runs(wanted) if run.status == dg.DagsterRunStatus.FAILURE}
    return [entry.asset_key for entry in entries if entry.last_run_id in failed]
