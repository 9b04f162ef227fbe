"""One study, its data folder and its Dagster instance, as the command line uses them together."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from emergence_assets.emergence.presence.table import HEADLINE
from emergence_assets.features.probe_quality.report import probe_report
from emergence_assets.orchestration.build import STAGES, build_definitions
from emergence_assets.orchestration.instance.home import close_dead_runs, prepare_home
from emergence_assets.orchestration.instance.interruption import interruptions_kept
from emergence_assets.orchestration.instance.partitions import asset_key, cell_of, partitions
from emergence_assets.orchestration.runs.batch import Outcome
from emergence_assets.orchestration.runs.openlineage import OpenLineageSender, openlineage_address
from emergence_assets.orchestration.runs.study_run import follow_timelines, run_study
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.listeners import Listener, Listeners, ListeningCompute, ProgressListener, Stopwatch
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.status import AssetStatus, study_status
from emergence_assets.report.spec import HEADLINE_NAME, PAGE_NAME
from emergence_assets.saes.row_storage import follow_retention
from emergence_assets.study.load import load_study
from emergence_assets.study.study import Study
from resources.compute.local_processes import LocalProcesses
from resources.files.records import folder_provenance
from resources.files.storage import Storage, data_folder, prepare_folder
from resources.tables.expectations import load_in_background
from resources.tables.parquet import read_table


@dataclass(frozen=True)
class Session:
    """What a command works with."""

    study: Study
    storage: Storage

    @staticmethod
    def open() -> "Session":
        """The chosen study and data folder.

        Raises:
            EmergenceError: no such study, or it does not fit.
        """
        study = load_study()
        return Session(study, Storage(data_folder(), study.name))

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, in flow order."""
        return STAGES

    def prepare(self) -> None:
        """Make the data folder and the instance ready, with all partitions of the study."""
        prepare_folder(self.storage.root)
        prepare_home(self.storage.data)
        with dg.DagsterInstance.get() as instance:
            close_dead_runs(instance)
            follow_timelines(self._plan(), instance)

    def run(
        self, progress: ProgressListener, stages: Sequence[str] | None = None, openlineage: str | None = None
    ) -> dict[str, Any]:
        """Make what is missing or out of date.

        Args:
            progress: called with what is due and how far it is.
            stages: names of the stages; all by default.
            openlineage: address of a receiver of OpenLineage events; by default OPENLINEAGE_URL, else none.

        Returns:
            Plain values: cells made and seconds by asset, warnings, and the headline where there is a report.
        """
        address = openlineage_address(openlineage)
        prepare_folder(self.storage.root)
        prepare_home(self.storage.data)
        plan, watch, sender = self._plan(), Stopwatch(), None
        load_in_background()
        with (
            interruptions_kept(),
            dg.DagsterInstance.get() as instance,
            LocalProcesses() as workers,
            contextlib.ExitStack() as opened,
        ):
            listeners: list[Listener] = [progress, watch]
            if address:
                sender = opened.enter_context(OpenLineageSender(address, plan))
                listeners.append(sender)
            listener = Listeners(*listeners)
            compute = ListeningCompute(workers, progress)
            definitions = build_definitions(self.study, self.storage, plan, compute, listener)
            outcome = run_study(plan, definitions, instance, listener, stages)
        if sender and sender.lost:
            outcome.warnings.append(f"{sender.lost} OpenLineage events were not taken: {sender.problem or 'no time'}")
        plan.forget_states()
        follow_retention(plan, progress)
        return self._result(outcome, watch.seconds, compute.working_seconds)

    def _plan(self) -> Plan:
        return Plan(self.study, self.storage, specs_for(self.study))

    def _result(self, outcome: Outcome, seconds: dict[str, float], working_seconds: float) -> dict[str, Any]:
        result: dict[str, Any] = {"study": self.study.name, "made": outcome.made, "warnings": outcome.warnings}
        result |= {"left_out": outcome.left_out}
        result |= {"seconds": seconds, "working_seconds": working_seconds}
        # Once, beside the numbers that they are about.
        result |= {"text_warnings": probe_report(self.study).warnings if outcome.made.get("latent_stats") else []}
        reported = folder_provenance(self.storage.report_folder())
        if reported:
            headline = read_table(self.storage.report_folder() / HEADLINE_NAME, HEADLINE)
            result |= {"headline": headline.to_dicts(), "level": str(reported.summary["level"])}
            result |= {"report": str(self.storage.report_folder() / PAGE_NAME)}
        return result

    def status(self) -> list[AssetStatus]:
        """Counts of cells per asset."""
        prepare_home(self.storage.data)
        with dg.DagsterInstance.get() as instance:
            specs = specs_for(self.study)
            return study_status(Plan(self.study, self.storage, specs), specs, self._failed(instance))

    def _failed(self, instance: dg.DagsterInstance) -> frozenset[tuple[str, str]]:
        """Cells whose last attempt failed, according to the event log."""
        failed: set[tuple[str, str]] = set()
        for spec in specs_for(self.study):
            for model in [None] if spec.grid == "study" else self.study.models:
                key = asset_key(self.study, model, spec.name)
                grid = partitions(self.study, model, spec.grid) if model else None
                if grid is None:
                    if _last_run_failed(instance, key):
                        failed.add((spec.name, str(Cell(model))))
                    continue
                keys = grid.get_partition_keys(dynamic_partitions_store=instance)
                found = instance.get_status_by_partition(key, keys, grid) or {}
                failed |= {
                    (spec.name, str(cell_of(str(model), partition)))
                    for partition, status in found.items()
                    if status is not None and status.value == "FAILED"
                }
        return frozenset(failed)


def _last_run_failed(instance: dg.DagsterInstance, key: dg.AssetKey) -> bool:
    """Whether the last run that was to materialise an asset without partitions failed."""
    records = instance.get_asset_records([key])
    last_run = records[0].asset_entry.last_run_id if records else None
    run = instance.get_run_by_id(last_run) if last_run else None
    return run is not None and run.status == dg.DagsterRunStatus.FAILURE
