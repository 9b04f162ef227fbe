"""What a stage says of one of its assets: how its cells are made, and what must hold of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dagster as dg
import polars as pl

from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.provenance import Required
from emergence_assets.study import Study
from emergence_assets.time_axis import TimeAxis
from resources.compute import Task
from resources.expectations import Check
from resources.storage import Storage

Tasks = Callable[[Plan, Sequence[tuple[Cell, Required]]], Sequence[tuple[Task, Sequence[Cell]]]]
"""Tasks that make the given cells, each with the cells that it makes."""


@dataclass(frozen=True)
class Intake:
    """What comes before an asset's cells are known: things from outside are looked at, and some are turned away."""

    refresh: Callable[[Study, Storage, str], TimeAxis]
    """List and judge what there is of a model."""
    tasks: Callable[[Study, Storage, Sequence[Cell]], Sequence[Task]]
    """Tasks that look at what nobody looked at yet."""


@dataclass(frozen=True)
class CellAsset:
    """What a stage says of one of its assets."""

    rule: Rule
    tasks: Tasks
    checks: tuple[Check, ...]
    """Claims about the frame of summaries, one row per cell."""
    description: str
    kinds: frozenset[str]
    pool: str | None = None
    backfill_policy: dg.BackfillPolicy | None = None
    frame: Callable[[Plan, Sequence[Cell]], pl.DataFrame] | None = None
    """Frame that the checks look at, where it is more than the summaries; one row per cell, or a table."""
    picture: Callable[[Plan, Cell], bytes | None] | None = None
    """A PNG that is shown with a cell."""
    intake: Intake | None = None
    then: Tasks | None = None
    """Tasks that put together what `tasks` made: those write parts, these the cells."""
