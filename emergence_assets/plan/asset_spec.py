"""Specification of one asset: how its cells are named, stored, made and checked. Dagster assets are made from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from emergence_assets.plan.cell import Cell, Grid
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.plan.timeline import Timeline
from emergence_assets.study.study import Study
from resources.compute.task import Task
from resources.files.provenance import Provenance, Required
from resources.files.storage import Storage
from resources.files.versions import per_version
from resources.tables.check import Check
from resources.tables.table import Table

if TYPE_CHECKING:
    from emergence_assets.plan.plan import Plan


@dataclass(frozen=True)
class Job:
    """One call of an asset's worker function, and the cells that it makes."""

    arguments: Mapping[str, Any]
    """Plain values; the worker function takes them by name."""
    cells: tuple[Cell, ...]
    label: str
    """What progress and errors call it."""


Due = Sequence[tuple[Cell, Required]]
"""Cells that have to be made, with what they are made from."""
Jobs = Callable[["Plan", Due], Sequence[Job]]


@dataclass(frozen=True)
class Validation:
    """What comes before an asset's cells are known: checkpoints from outside are validated, and some are left out."""

    refresh: Callable[[Study, Storage, str], Timeline]
    """List and validate the checkpoints of a model."""
    tasks: Callable[[Study, Storage, Sequence[Cell]], Sequence[Task]]
    """Tasks that measure new checkpoints."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AssetSpec:
    """How one asset's cells are named, stored, made and checked."""

    name: str
    stage: str
    description: str
    grid: Grid
    inputs: tuple[str, ...]
    """Names of the assets that it is made from."""
    make: str
    """Worker function that makes cells, as `package.module:name`."""
    jobs: Jobs
    """Calls of `make` that make the given cells."""
    path: Callable[[Storage, Cell], Path]
    """File or folder of one cell."""
    stored: Callable[[Path], Provenance | None]
    """Provenance inside that file or folder; None when there is none."""
    checks: tuple[Check, ...]
    """Conditions on the frame of summaries, one row per cell, or on `frame`."""
    recipe: Callable[[Study, Storage, Cell], Mapping[str, Any] | None] = field(default=lambda *_: {})
    """Settings that decide the result; None while something outside the pipeline is not there yet."""
    functions: tuple[str, ...] | None = None
    """Functions whose code decides the result; None: `make`."""
    tables: tuple[Table, ...] = ()
    """Tables that its cells hold; the first is the one that marks a cell as finished."""
    verify: Callable[[Path], None] = field(default=lambda _path: None)
    """Raise EmergenceError when the content is not what was written."""
    kinds: frozenset[str] = frozenset({"polars", "parquet"})
    """Icons in the Dagster UI."""
    on_accelerator: bool = False
    """Whether its workers use a GPU where there is one."""
    wanted: Callable[[Study], bool] = field(default=lambda _study: True)
    """Whether a study has the asset at all."""
    prepare: "Prepare | None" = None
    """Jobs that write parts, which `make` then joins."""
    parts: tuple[Table, ...] = ()
    """Tables of these parts."""
    starts_from: Callable[[Study, Sequence[int], Cell], Cell | None] = field(default=lambda _study, _steps, _cell: None)
    """The cell of the same asset, at an earlier step, that a cell is made from too; given the model's steps."""
    needs_cells: bool = True
    """Whether it cannot be made while an asset that it is made from has no cell at all."""
    takes_unvalidated: bool = False
    """Whether it has cells of checkpoints that are not validated yet."""
    validation: Validation | None = None
    also: Callable[[Storage, Cell], tuple[Path, ...]] = field(default=lambda _storage, _cell: ())
    """Other files of a cell, beside `path`."""
    n_bytes: Callable[[Study, Cell, TextCounts], float] = field(default=lambda _study, _cell, _counts: TABLE_BYTES)
    """Bytes that a finished cell takes on disk, by its study's retention."""
    frame: Callable[["Plan", Sequence[Cell]], pl.DataFrame] | None = None
    """Frame that the checks look at, where it is more than the summaries; one row per cell, or a table."""
    backfill: Literal["one_run", "several_runs"] | None = None
    """How a backfill of its partitions is cut into Dagster runs; None: a run per partition."""

    @property
    def code(self) -> tuple[str, ...]:
        """Functions whose code decides the result, as `package.module:name`."""
        return (self.make,) if self.functions is None else self.functions

    @property
    def own_table(self) -> Table | None:
        """The table that the asset is; None for files and folders."""
        return next((table for table in self.tables if table.name == self.name), None)

    @property
    def has_partitions(self) -> bool:
        """Whether its cells are steps, or layers of steps."""
        return self.grid in ("step", "cell")

    def models(self, study: Study) -> Sequence[str | None]:
        """The models that have an asset each; one None for an asset of the whole study."""
        return [None] if self.grid == "study" else study.models

    def source_cell(self, cell: Cell) -> Cell | None:
        """The one cell of this asset that shares a cell's model, step and layer; None when there may be several."""
        if self.grid == "study":
            return Cell()
        named = {"model": (cell.model,), "step": (cell.model, cell.step), "cell": tuple(cell)}[self.grid]
        return None if None in named else Cell(*named)


@dataclass(frozen=True)
class Prepare:
    """Jobs of another worker function that run before those of an asset."""

    make: str
    jobs: Jobs


TABLE_BYTES = 20_000
"""Bytes of a small table; all small tables together are about a hundredth of a study."""


def stored_provenance(spec: AssetSpec, path: Path) -> Provenance | None:
    """Provenance of a stored cell, read once per version of its file: files are replaced, never edited.

    Raises:
        EmergenceError: what is stored is damaged.
    """
    return per_version(path, spec.stored)
