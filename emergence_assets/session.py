"""One study, its data folder and its Dagster instance, as the command line uses them together."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl
from rich.console import Console
from rich.table import Table

from emergence_assets.cell_run import Outcome
from emergence_assets.data_docs import INDEX_NAME
from emergence_assets.definitions import STAGES, build_definitions
from emergence_assets.display import Display
from emergence_assets.emergence.tables.claims import HEADLINE
from emergence_assets.instance import close_dead_runs, prepare_home
from emergence_assets.interruption import interruptions_kept
from emergence_assets.listeners import ListeningCompute
from emergence_assets.openlineage_events import OpenLineageSender, openlineage_address
from emergence_assets.partitions import asset_key, cell_of, partitions
from emergence_assets.pipeline import rules_for
from emergence_assets.plan import Cell, Plan
from emergence_assets.probe_report import probe_report
from emergence_assets.report.cells import HEADLINE_NAME, PAGE_NAME
from emergence_assets.runner import follow_time_axes, run_study
from emergence_assets.status import AssetStatus, study_status
from emergence_assets.storage_listing import follow_retention
from emergence_assets.study import Study, load_study
from resources.compute import LocalProcesses
from resources.records import folder_provenance
from resources.storage import Storage, data_folder, prepare_folder
from resources.tables import read_table


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
            follow_time_axes(self.study, self.storage, rules_for(self.study), instance)

    def run(self, console: Console, stages: Sequence[str] | None, openlineage: str | None = None) -> dict[str, Any]:
        """Make what is due and print the headline; returns the same as plain values.

        Args:
            console: where to print.
            stages: names of the stages; all by default.
            openlineage: address of a receiver of OpenLineage events; by default OPENLINEAGE_URL, else none.
        """
        address = openlineage_address(openlineage)
        self.prepare()
        rules = rules_for(self.study)
        with (
            interruptions_kept(),
            dg.DagsterInstance.get() as instance,
            LocalProcesses() as workers,
            Display(console) as display,
            contextlib.ExitStack() as opened,
        ):
            sender = (
                opened.enter_context(OpenLineageSender(address, Plan(self.study, self.storage, rules)))
                if address
                else None
            )
            compute = ListeningCompute(workers, display)
            definitions = build_definitions(self.study, self.storage, compute)
            follow = sender.follow if sender else None
            outcome = run_study(self.study, self.storage, definitions, rules, instance, display, stages, follow=follow)
        if sender and sender.lost:
            outcome.warnings.append(f"{sender.lost} OpenLineage events were not taken: {sender.problem or 'no time'}")
        follow_retention(Plan(self.study, self.storage, rules), console)
        return self._conclude(console, outcome, compute.working_seconds)

    def _conclude(self, console: Console, outcome: Outcome, working_seconds: float) -> dict[str, Any]:
        for warning in [*outcome.left_out, *outcome.warnings]:
            console.print(f"warning: {warning}", style="yellow", highlight=False)
        if outcome.made.get("latent_stats"):  # once, beside the numbers that it is about
            for warning in probe_report(self.study).warnings:
                console.print(f"warning: probe texts: {warning}", style="yellow", highlight=False, markup=False)
        page = self.storage.report_folder() / PAGE_NAME
        docs = self.storage.data_docs_folder() / INDEX_NAME
        result: dict[str, Any] = {"study": self.study.name, "made": outcome.made, "warnings": outcome.warnings}
        result |= {"left_out": outcome.left_out}
        result |= {"seconds": outcome.seconds, "working_seconds": working_seconds}
        reported = folder_provenance(self.storage.report_folder())
        if reported:
            headline = read_table(self.storage.report_folder() / HEADLINE_NAME, HEADLINE)
            result |= {"headline": headline.to_dicts(), "report": str(page), "data_docs": str(docs)}
            console.print(headline_table(headline, str(reported.summary["level"])))
            console.print(f"report: {page}", highlight=False, soft_wrap=True)
            console.print(f"data quality: {docs}", highlight=False, soft_wrap=True)
        return result

    def status(self) -> list[AssetStatus]:
        """Counts of cells per asset."""
        prepare_home(self.storage.data)
        with dg.DagsterInstance.get() as instance:
            rules = rules_for(self.study)
            return study_status(Plan(self.study, self.storage, rules), rules, self._failed(instance))

    def _failed(self, instance: dg.DagsterInstance) -> frozenset[tuple[str, str]]:
        """Cells whose last attempt failed, according to the event log."""
        failed: set[tuple[str, str]] = set()
        for rule in rules_for(self.study):
            for model in [None] if rule.grid == "study" else self.study.models:
                key = asset_key(self.study, model, rule.name)
                grid = partitions(self.study, model, rule.grid) if model else None
                if grid is None:
                    if _last_run_failed(instance, key):
                        failed.add((rule.name, str(Cell(model))))
                    continue
                keys = grid.get_partition_keys(dynamic_partitions_store=instance)
                found = instance.get_status_by_partition(key, keys, grid) or {}
                failed |= {
                    (rule.name, str(cell_of(str(model), partition)))
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


def headline_table(headline: pl.DataFrame, level: str) -> Table:
    """What is read first: the report's level, smallest model first, the measurement beside its controls."""
    measured = headline.filter(pl.col("control_id") == "none", pl.col("category_level") == level)
    title = f"best latent's AUROC, mean over {measured['n_categories'][0]} categories and all layers"
    names = ("model", "step 0 to last", "rise [95 %]", "shuffled", "dense", "words")
    table = Table(*names, title=title, box=None, padding=(0, 2, 0, 0), title_justify="left")
    for row in measured.sort("n_params_nonemb").iter_rows(named=True):
        table.add_row(
            row["model"],
            f"{row['p_first']:.3f} to {row['p_last']:.3f}",
            f"{row['rise']:+.3f} [{row['rise_lo']:+.3f}, {row['rise_hi']:+.3f}]",
            f"{row['p_shuffle']:.3f}",
            f"{row['p_dense_last']:.3f}",
            f"{row['p_bow']:.3f}",
        )
    return table
