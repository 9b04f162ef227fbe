"""Listeners, which receive the progress of a run: the terminal, the Dagster log, an OpenLineage receiver."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from resources.compute.task import Compute, Report, Task

CellProgress = Literal["began", "ended", "failed"]


class Listener(Protocol):
    """Receives the events of a run."""

    def planned(self, due: dict[str, int], total: dict[str, int], notes: Sequence[str] = ()) -> None:
        """Receive the number of cells to make and of all cells, by asset; notes such as the memory that it takes."""

    def changed(self, progress: CellProgress, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """Receive the start, success or failure of some cells of an asset, in a Dagster run."""


class TaskListener(Protocol):
    """Receives the progress of the tasks of a run."""

    def submitted(self, n_tasks: int) -> None:
        """Receive the number of submitted tasks."""

    def progressed(self, label: str, done: int, total: int, note: str) -> None:
        """Receive the units done of a task, its units in all, and a note."""

    def finished(self, label: str) -> None:
        """Receive the end of a task."""


class ProgressListener(Listener, TaskListener, Protocol):
    """Receives the events of a run and the progress of its tasks."""


class Listeners:
    """Forwards the events of a run to several listeners."""

    def __init__(self, *listeners: Listener):
        self._listeners = listeners

    def planned(self, due: dict[str, int], total: dict[str, int], notes: Sequence[str] = ()) -> None:
        """See `Listener`."""
        for one in self._listeners:
            one.planned(due, total, notes)

    def changed(self, progress: CellProgress, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """See `Listener`."""
        for one in self._listeners:
            one.changed(progress, run_id, spec, cells)


class Stopwatch:
    """Wall time in seconds by asset, from the start of its cells to their end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began: dict[tuple[str, str], float] = {}

    def planned(self, due: dict[str, int], total: dict[str, int], notes: Sequence[str] = ()) -> None:
        """See `Listener`."""

    def changed(self, progress: CellProgress, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """See `Listener`."""
        now = time.monotonic()
        if progress == "began":
            self._began[run_id, spec.name] = now
        else:
            taken = now - self._began.pop((run_id, spec.name), now)
            self.seconds[spec.name] = self.seconds.get(spec.name, 0.0) + taken


class ListeningCompute:
    """A Compute that also reports its progress to a listener."""

    def __init__(self, compute: Compute, listener: TaskListener):
        self._compute, self._listener = compute, listener
        self.n_accelerators = compute.n_accelerators
        self.working_seconds = 0.0
        """Wall time in seconds in which workers had tasks; the rest of a run is orchestration."""

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
