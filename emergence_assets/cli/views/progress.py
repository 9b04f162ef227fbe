"""Progress in the terminal: what runs, how fast, how long still. Plain lines where there is no terminal."""

import time
from types import TracebackType

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

PLAIN_EVERY_SECONDS = 10.0


class Display:
    """Shows one line per stage and one per running task; a `listeners.Listener` and a `listeners.TaskListener`."""

    def __init__(self, console: Console):
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._stage: TaskID | None = None
        self._running: dict[str, TaskID] = {}
        self._finished: set[str] = set()
        self._began = self._last_plain = time.monotonic()

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def planned(self, due: dict[str, int], total: dict[str, int]) -> None:
        """Say what will be computed."""
        work = {name: n for name, n in due.items() if n}
        if work:
            listed = ", ".join(f"{name} {n} of {total[name]}" for name, n in work.items())
            self.console.print(f"to do: {listed}", highlight=False)
        else:
            self.console.print(f"nothing to do: all {sum(total.values())} cells are up to date", highlight=False)

    def began(self, spec: AssetSpec, model: str | None, n_cells: int) -> None:
        """Open the line of a stage."""
        self._began = time.monotonic()
        title = f"{spec.name} {model or ''}".strip()
        self._stage = self._progress.add_task(title, total=n_cells, note="", rate="")

    def ended(self, spec: AssetSpec, model: str | None, n_cells: int) -> None:
        """Replace the line of a stage by its result."""
        seconds = time.monotonic() - self._began
        for task in [*self._running.values(), *([] if self._stage is None else [self._stage])]:
            self._progress.remove_task(task)
        self._running, self._finished, self._stage = {}, set(), None
        unit = "cell" if n_cells == 1 else "cells"
        self.console.print(
            f"  {spec.name} {model or 'all models'}: {n_cells} {unit} in {seconds:.1f} s", highlight=False
        )

    def submitted(self, n_tasks: int) -> None:
        """Set what the stage's line counts: tasks, which may make several cells each."""
        if self._stage is not None:
            self._progress.update(self._stage, total=n_tasks)

    def progressed(self, label: str, done: int, total: int, note: str) -> None:
        """Move the line of a running task."""
        if not self.console.is_terminal:
            if time.monotonic() - self._last_plain > PLAIN_EVERY_SECONDS:
                self._last_plain = time.monotonic()
                self.console.print(f"    {label}: {done} of {total} {note}", highlight=False)
            return
        if label in self._finished:
            return  # progress travels on its own way and may come after the result
        if label not in self._running:
            self._running[label] = self._progress.add_task(f"  {label}", total=total, note="", rate="")
        task = self._running[label]
        speed = next((line.speed for line in self._progress.tasks if line.id == task), None)
        self._progress.update(task, completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")
        if note:  # a loss stays until the next one
            self._progress.update(task, note=note)

    def finished(self, label: str) -> None:
        """Take away the line of a task."""
        self._finished.add(label)
        if label in self._running:
            self._progress.remove_task(self._running.pop(label))
        if self._stage is not None:
            self._progress.advance(self._stage)
