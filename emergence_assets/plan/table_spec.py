"""Specification of an asset that is one parquet table, of the study or of each model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from resources.tables.relation import Relation
from resources.tables.table import Table

if TYPE_CHECKING:
    from emergence_assets.plan.plan import Plan

TableFiles = tuple[Table, list[str]]
"""Declaration of a table and the files that hold its rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TableSpec(AssetSpec):
    """An asset that is one table, of the study or of each model."""

    relations: tuple[Relation, ...] = ()
    """Conditions between rows, beside those that the columns declare."""

    @property
    def table(self) -> Table:
        """Its columns."""
        return self.tables[0]


def input_tables(plan: "Plan", spec: AssetSpec, cell: Cell) -> dict[str, TableFiles]:
    """Input tables of a cell by name; a table of the study is made from those of all models."""
    found: dict[str, TableFiles] = {}
    for source, one in plan.input_cells(spec, cell):
        if isinstance(source, TableSpec):
            found.setdefault(source.name, (source.table, []))[1].append(str(source.path(plan.storage, one)))
    return found
