"""Progress of a run in the log of a Dagster run, where no terminal shows it."""

import time
from collections.abc import Sequence

import dagster as dg

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.listeners import Listener
from resources.compute.task import Report

LOG_EVERY_SECONDS = 15.0


class LogListener:
    """Writes what a run makes into the log of the Dagster run."""

    def __init__(self, log: dg.DagsterLogManager):
        self._log = log

    def planned(self, due: dict[str, int], total: dict[str, int]) -> None:
        """Log what will be made."""
        self._log.info("to do: " + ", ".join(f"{name} {n} of {total[name]}" for name, n in due.items()))

    def began(self, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """Log what begins."""
        self._log.info(f"{spec.name}: {len(cells)} cells")

    def ended(self, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """Log what is finished."""
        self._log.info(f"{spec.name}: finished")

    def failed(self, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """Log what failed."""
        self._log.info(f"{spec.name}: failed")


def listener_of(context: dg.AssetExecutionContext) -> Listener:
    """The listener of the process that started the run, else the log of the run."""
    return context.resources.progress or LogListener(context.log)


def logged_report(context: dg.AssetExecutionContext) -> Report:
    """Progress of tasks as lines in the log of the run, every so often."""
    last = time.monotonic()

    def report(label: str, done: int, total: int, note: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_EVERY_SECONDS:
            last = time.monotonic()
            context.log.info(f"{label}: {done} of {total} {note}")

    return report
