"""Progress in the terminal: running tasks, rate and remaining time. Plain lines without a terminal."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.listeners import CellProgress
from resources.printable import printable

PLAIN_EVERY_SECONDS = 10.0


class Display:
    """Shows a line for the assets in progress and a line per running task; a `ProgressListener`."""

    def __init__(self, console: Console):
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._stage: TaskID | None = None
        self._running: dict[str, TaskID] = {}
        self._finished: set[str] = set()
        self._making: list[str] = []
        self._began: dict[tuple[str, str], float] = {}
        self._last_plain = time.monotonic()

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def planned(self, due: dict[str, int], total: dict[str, int], notes: Sequence[str] = ()) -> None:
        """Print the number of cells to compute, by asset, and the notes."""
        work = {name: n for name, n in due.items() if n}
        if work:
            listed = ", ".join(f"{name} {n} of {total[name]}" for name, n in work.items())
            for line in (f"to do: {listed}", *notes):
                self.console.print(line, highlight=False, markup=False)
        else:
            self.console.print(
                f"nothing to do: all {sum(total.values())} cells are up to date", highlight=False, markup=False
            )

    def changed(self, progress: CellProgress, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """Add an asset to the line of assets in progress, or remove it; print a finished asset, not the error."""
        if progress == "began":
            self._began[run_id, spec.name] = time.monotonic()
            self._making.append(spec.name)
            self._title(len(cells))
            return
        seconds = time.monotonic() - self._began.pop((run_id, spec.name), time.monotonic())
        self._remove(spec)
        if progress == "failed":
            return
        models = dict.fromkeys(cell.model for cell in cells)
        whose = str(next(iter(models))) if len(models) == 1 and None not in models else "all models"
        unit = "cell" if len(cells) == 1 else "cells"
        self.console.print(
            f"  {spec.name} {whose}: {len(cells)} {unit} in {seconds:.1f} s", highlight=False, markup=False
        )

    def _title(self, n_units: int) -> None:
        shown = ", ".join(self._making[:3]) + (f" and {len(self._making) - 3} more" if len(self._making) > 3 else "")
        if self._stage is None:
            self._stage = self._progress.add_task(shown, total=n_units, note="", rate="")
        else:
            self._progress.update(self._stage, description=shown)

    def _remove(self, spec: AssetSpec) -> None:
        if spec.name in self._making:
            self._making.remove(spec.name)
        if self._making:
            self._title(0)
            return
        for task in [*self._running.values(), *([] if self._stage is None else [self._stage])]:
            self._progress.remove_task(task)
        self._running, self._finished, self._stage = {}, set(), None

    def submitted(self, n_tasks: int) -> None:
        """Set the total of the line of assets to the number of tasks, each of which may make several cells."""
        if self._stage is not None:
            self._progress.update(self._stage, total=n_tasks, completed=0)

    def progressed(self, label: str, done: int, total: int, note: str) -> None:
        """Update the line of a running task."""
        label, note = printable(label), printable(note)
        if not self.console.is_terminal:
            if time.monotonic() - self._last_plain > PLAIN_EVERY_SECONDS:
                self._last_plain = time.monotonic()
                self.console.print(f"    {label}: {done} of {total} {note}", highlight=False, markup=False)
            return
        if label in self._finished:
            return  # progress has its own channel and may arrive after the result
        if label not in self._running:
            self._running[label] = self._progress.add_task(f"  {label}", total=total, note="", rate="")
        task = self._running[label]
        speed = next((line.speed for line in self._progress.tasks if line.id == task), None)
        self._progress.update(task, completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")
        if note:  # a loss stays until the next one
            self._progress.update(task, note=note)

    def finished(self, label: str) -> None:
        """Remove the line of a task."""
        label = printable(label)
        self._finished.add(label)
        if label in self._running:
            self._progress.remove_task(self._running.pop(label))
        if self._stage is not None:
            self._progress.advance(self._stage)
