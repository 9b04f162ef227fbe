"""Specification of one asset: names, files, worker function and checks of its cells. Dagster assets follow from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from emergence_assets.plan.cell import Cell, Grid
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.plan.timeline import Timeline
from emergence_assets.study.study import Study
from resources.compute.task import Fetch, Task
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
    """Plain values, passed to the worker function by name."""
    cells: tuple[Cell, ...]
    label: str
    """Name of the job in progress and errors."""
    fetch: Fetch | None = None
    """What brings the checkpoint of the job from a hub, ahead of the job."""


Due = Sequence[tuple[Cell, Required]]
"""Stale or missing cells, each with its required provenance."""
Jobs = Callable[["Plan", Due], Sequence[Job]]


@dataclass(frozen=True)
class Validation:
    """Steps before the cells of an asset are known: external checkpoints are validated, and some are left out."""

    refresh: Callable[[Study, Storage, str], Timeline]
    """List and validate the checkpoints of a model."""
    tasks: Callable[[Study, Storage, Sequence[Cell]], Sequence[Task]]
    """Tasks that measure new checkpoints."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AssetSpec:
    """Names, files, worker function and checks of the cells of one asset."""

    name: str
    stage: str
    description: str
    grid: Grid
    inputs: tuple[str, ...]
    """Names of the input assets."""
    make: str
    """Worker function that makes cells, as `package.module:name`."""
    jobs: Jobs
    """Calls of `make` that make the given cells."""
    path: Callable[[Storage, Cell], Path]
    """File or folder of one cell."""
    stored: Callable[[Path], Provenance | None]
    """Provenance inside that file or folder; None without a file or folder."""
    checks: tuple[Check, ...]
    """Conditions on the frame of summaries, one row per cell, or on `frame`."""
    recipe: Callable[[Study, Storage, Cell], Mapping[str, Any] | None] = field(default=lambda *_: {})
    """Settings that decide the result; None while an external input does not exist yet."""
    functions: tuple[str, ...] | None = None
    """Functions whose code decides the result; None: `make`."""
    tables: tuple[Table, ...] = ()
    """Tables in its cells; the first table marks a cell as finished."""
    verify: Callable[[Path], None] = field(default=lambda _path: None)
    """Raises EmergenceError when the content is not the written content."""
    kinds: frozenset[str] = frozenset({"polars", "parquet"})
    """Icons in the Dagster UI."""
    on_accelerator: bool = False
    """Whether its workers use a GPU where one exists."""
    wanted: Callable[[Study], bool] = field(default=lambda _study: True)
    """Whether a study has the asset."""
    prepare: "Prepare | None" = None
    """Jobs that write parts, which `make` joins afterwards."""
    parts: tuple[Table, ...] = ()
    """Tables of these parts."""
    starts_from: Callable[[Study, Sequence[int], Cell], Cell | None] = field(default=lambda _study, _steps, _cell: None)
    """Further input of a cell: the cell of the same asset at an earlier step. Called with study, steps and cell."""
    needs_cells: bool = True
    """Whether the asset cannot be made while an input asset has no cell."""
    takes_unvalidated: bool = False
    """Whether the asset has cells of checkpoints that are not validated yet."""
    validation: Validation | None = None
    also: Callable[[Storage, Cell], tuple[Path, ...]] = field(default=lambda _storage, _cell: ())
    """Other files of a cell, beside `path`."""
    n_bytes: Callable[[Study, Cell, TextCounts], float] = field(default=lambda _study, _cell, _counts: TABLE_BYTES)
    """Predicted bytes of a finished cell on disk, with the retention of the study."""
    frame: Callable[["Plan", Sequence[Cell]], pl.DataFrame] | None = None
    """Frame that is checked in place of the summaries: one row per cell, or a table."""
    cells_per_run: Literal["all"] | int | None = None
    """Maximum number of partitions that one Dagster run of a backfill makes; None: a run per partition.

    Differs from the number of every input with the same partitions: Dagster then gives each of them its own run.
    """

    @property
    def code(self) -> tuple[str, ...]:
        """Functions whose code decides the result, as `package.module:name`."""
        return (self.make,) if self.functions is None else self.functions

    @property
    def own_table(self) -> Table | None:
        """Table with the name of the asset; None for an asset of files or folders."""
        return next((table for table in self.tables if table.name == self.name), None)

    @property
    def has_partitions(self) -> bool:
        """Whether the cells are steps, or layers of steps."""
        return self.grid in ("step", "cell")

    def models(self, study: Study) -> Sequence[str | None]:
        """Return the models with an asset of their own; `[None]` for an asset of the whole study."""
        return [None] if self.grid == "study" else study.models

    def source_cell(self, cell: Cell) -> Cell | None:
        """Return the cell of this asset with the model, step and layer of `cell`; None if there may be several."""
        if self.grid == "study":
            return Cell()
        named = {"model": (cell.model,), "step": (cell.model, cell.step), "cell": tuple(cell)}[self.grid]
        return None if None in named else Cell(*named)


@dataclass(frozen=True)
class Prepare:
    """Jobs of another worker function, which run before the jobs of an asset."""

    make: str
    jobs: Jobs


TABLE_BYTES = 20_000
"""Bytes of a small table; all small tables together are about a hundredth of a study."""


def stored_provenance(spec: AssetSpec, path: Path) -> Provenance | None:
    """Return the provenance of a stored cell, read once per version of its file: files are replaced, never edited.

    Raises:
        EmergenceError: the stored cell is damaged.
    """
    return per_version(path, spec.stored)
