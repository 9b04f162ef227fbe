"""Specification of one asset: how its cells are named, stored, made and checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from emergence_assets.plan.cell import Cell, Grid
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.plan.timeline import TimeAxis
from emergence_assets.study.study import Study
from resources.compute.task import Task
from resources.files.provenance import Provenance, Required
from resources.files.storage import Storage
from resources.tables.expectations import Check

if TYPE_CHECKING:
    from emergence_assets.plan.plan import Plan

Tasks = Callable[["Plan", Sequence[tuple[Cell, Required]]], Sequence[tuple[Task, Sequence[Cell]]]]
"""Tasks that make the given cells, each with the cells that it makes."""


@dataclass(frozen=True)
class Intake:
    """What comes before an asset's cells are known: things from outside are looked at, and some are turned away."""

    refresh: Callable[[Study, Storage, str], TimeAxis]
    """List and judge what there is of a model."""
    tasks: Callable[[Study, Storage, Sequence[Cell]], Sequence[Task]]
    """Tasks that look at what nobody looked at yet."""


@dataclass(frozen=True)
class Rule:
    """How one asset's cells are named, stored and made."""

    name: str
    stage: str
    grid: Grid
    inputs: tuple[str, ...]
    """Names of the assets it is made from."""
    recipe: Callable[[Study, Storage, Cell], Mapping[str, Any] | None]
    """Settings that decide the result; None while something outside the pipeline is not there yet."""
    code: tuple[str, ...]
    """Functions that make it, as `package.module:name`."""
    path: Callable[[Storage, Cell], Path]
    """File or folder of one cell."""
    stored: Callable[[Path], Provenance | None]
    """Provenance inside that file or folder; None when there is none."""
    verify: Callable[[Path], None] = field(default=lambda _path: None)
    """Raise EmergenceError when the content is not what was written."""
    starts_from: Callable[[Study, Sequence[int], Cell], Cell | None] = field(default=lambda _study, _steps, _cell: None)
    """The cell of the same asset, at an earlier step, that a cell is made from too; given the model's steps."""
    needs_cells: bool = True
    """Whether it cannot be made while an asset that it is made from has no cell at all."""
    takes_unjudged: bool = False
    """Its cells are also of checkpoints that nobody looked at yet."""
    also: Callable[[Storage, Cell], tuple[Path, ...]] = field(default=lambda _storage, _cell: ())
    """What else lies on disk of a cell, beside `path`."""
    n_bytes: Callable[[Study, Cell, TextCounts], float] = field(default=lambda _study, _cell, _counts: 0)
    """What a finished cell takes on disk, by its study's retention."""

    def source_cell(self, cell: Cell) -> Cell | None:
        """The one cell of this asset that shares a cell's model, step and layer; None when there may be several."""
        if self.grid == "study":
            return Cell()
        named = {"model": (cell.model,), "step": (cell.model, cell.step), "cell": tuple(cell)}[self.grid]
        return None if None in named else Cell(*named)


_read: dict[tuple[str, Path], tuple[tuple[int, int, int], Provenance | None]] = {}


def stored_provenance(rule: Rule, path: Path) -> Provenance | None:
    """Provenance of a stored cell, read once per version of its file: files are replaced, never edited.

    Raises:
        EmergenceError: what is stored is damaged.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    version = (found.st_ino, found.st_size, found.st_mtime_ns)
    known = _read.get((rule.name, path))
    if known is None or known[0] != version:
        known = _read[rule.name, path] = (version, rule.stored(path))
    return known[1]


@dataclass(frozen=True)
class CellAsset:
    """What a stage says of one of its assets."""

    rule: Rule
    tasks: Tasks
    checks: tuple[Check, ...]
    """Claims about the frame of summaries, one row per cell."""
    description: str
    kinds: frozenset[str]
    on_accelerator: bool = False
    """Whether it waits for a slot of the accelerator."""
    backfill: Literal["one_run", "several_runs"] | None = None
    """How a backfill of its partitions is cut into Dagster runs; None: a run per partition."""
    frame: Callable[["Plan", Sequence[Cell]], pl.DataFrame] | None = None
    """Frame that the checks look at, where it is more than the summaries; one row per cell, or a table."""
    intake: Intake | None = None
    then: Tasks | None = None
    """Tasks that put together what `tasks` made: those write parts, these the cells."""
