"""Listeners of a run: the terminal, the log of a Dagster run, an OpenLineage receiver."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from resources.compute.task import Compute, Report, Task


class Listener(Protocol):
    """Receives the events of a run."""

    def planned(self, due: dict[str, int], total: dict[str, int]) -> None:
        """Receive the cells to make and the cells in all, by asset."""

    def began(self, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """Receive the start of some cells of an asset, in a Dagster run."""

    def ended(self, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """Receive their success."""

    def failed(self, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """Receive their failure."""


class TaskListener(Protocol):
    """Receives how far the tasks of a run are."""

    def submitted(self, n_tasks: int) -> None:
        """Receive the number of tasks that the workers get."""

    def progressed(self, label: str, done: int, total: int, note: str) -> None:
        """Receive the units that a task has done."""

    def finished(self, label: str) -> None:
        """Receive the end of a task."""


class ProgressListener(Listener, TaskListener, Protocol):
    """Receives both: what a run makes, and how far its tasks are."""


class Listeners:
    """Passes everything on to several listeners."""

    def __init__(self, *listeners: Listener):
        self._listeners = listeners

    def planned(self, due: dict[str, int], total: dict[str, int]) -> None:
        """See `Listener`."""
        for one in self._listeners:
            one.planned(due, total)

    def began(self, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """See `Listener`."""
        for one in self._listeners:
            one.began(run_id, spec, cells)

    def ended(self, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """See `Listener`."""
        for one in self._listeners:
            one.ended(run_id, spec, cells)

    def failed(self, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """See `Listener`."""
        for one in self._listeners:
            one.failed(run_id, spec, cells)


class Stopwatch:
    """Wall time by asset, from the start of its cells to their end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began: dict[tuple[str, str], float] = {}

    def planned(self, due: dict[str, int], total: dict[str, int]) -> None:
        """See `Listener`."""

    def began(self, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """See `Listener`."""
        self._began[run_id, spec.name] = time.monotonic()

    def ended(self, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """See `Listener`."""
        taken = time.monotonic() - self._began.pop((run_id, spec.name), time.monotonic())
        self.seconds[spec.name] = self.seconds.get(spec.name, 0.0) + taken

    def failed(self, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """See `Listener`."""
        self.ended(run_id, spec, cells)


class ListeningCompute:
    """A Compute whose progress a listener receives too."""

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
