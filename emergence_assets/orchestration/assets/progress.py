"""Progress of a run in the Dagster log, for runs without a terminal."""

import time
from collections.abc import Sequence

import dagster as dg

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.listeners import CellProgress, Listener
from resources.compute.task import Report

LOG_EVERY_SECONDS = 15.0


class LogListener:
    """Writes the progress of a run into the log of its Dagster run."""

    def __init__(self, log: dg.DagsterLogManager):
        self._log = log

    def planned(self, due: dict[str, int], total: dict[str, int], notes: Sequence[str] = ()) -> None:
        """Log the number of cells to make, by asset."""
        self._log.info("to do: " + ", ".join(f"{name} {n} of {total[name]}" for name, n in due.items()))
        for note in notes:
            self._log.info(note)

    def changed(self, progress: CellProgress, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """Log the start, success or failure of an asset."""
        messages = {"began": f"{len(cells)} cells", "ended": "finished", "failed": "failed"}
        self._log.info(f"{spec.name}: {messages[progress]}")


def listener_of(context: dg.AssetExecutionContext) -> Listener:
    """Return the listener of the process that started the run; without a listener, the log of the run."""
    return context.resources.progress or LogListener(context.log)


def logged_report(context: dg.AssetExecutionContext) -> Report:
    """Return a callback that logs the progress of tasks, at most every LOG_EVERY_SECONDS."""
    last = time.monotonic()

    def report(label: str, done: int, total: int, note: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_EVERY_SECONDS:
            last = time.monotonic()
            context.log.info(f"{label}: {done} of {total} {note}")

    return report
