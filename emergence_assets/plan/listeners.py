"""Who is told how far a run is: the terminal, or the log of a Dagster run."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from emergence_assets.plan.asset_spec import AssetSpec
from resources.compute.task import Compute, Report, Task


class Listener(Protocol):
    """Is told what a run is about to do and how far it is."""

    def planned(self, due: dict[str, int], total: dict[str, int]) -> None:
        """Cells to make and cells in all, by asset."""

    def began(self, spec: AssetSpec, model: str | None, n_cells: int) -> None:
        """A Dagster run over so many cells begins."""

    def ended(self, spec: AssetSpec, model: str | None, n_cells: int) -> None:
        """It succeeded."""


class TaskListener(Protocol):
    """Is told how far the tasks of a run are."""

    def submitted(self, n_tasks: int) -> None:
        """So many tasks are handed to the workers."""

    def progressed(self, label: str, done: int, total: int, note: str) -> None:
        """A task has done so many of its units."""

    def finished(self, label: str) -> None:
        """A task has ended well."""


class ProgressListener(Listener, TaskListener, Protocol):
    """Is told both: what a run does, and how far its tasks are."""


class ListeningCompute:
    """A Compute whose progress a second listener is told too."""

    def __init__(self, compute: Compute, listener: TaskListener):
        self._compute, self._listener = compute, listener
        self.working_seconds = 0.0
        """Wall time in which workers were at work; the rest of a run is orchestration."""

    def run(self, tasks: Sequence[Task], report: Report) -> Iterator[tuple[Task, Any]]:
        """See `Compute`."""

        def both(label: str, done: int, total: int, note: str) -> None:
            self._listener.progressed(label, done, total, note)
            report(label, done, total, note)

        began = time.monotonic()
        self._listener.submitted(len(tasks))
        try:
            for task, result in self._compute.run(tasks, both):
                self._listener.finished(task.label)
                yield task, result
        finally:
            self.working_seconds += time.monotonic() - began
