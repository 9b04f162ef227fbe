"""Addresses that `emergence audit` resolves: a claim, a figure, a row of a table, a cell, or a lineage id."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from emergence_assets.audit.events import EventLog
from emergence_assets.audit.records import AuditPlan
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell, parse_cell
from emergence_assets.plan.lineage_id import LINEAGE_ID, cell_id, figure_key, row_id
from emergence_assets.report.figure_tables import FIGURE_TABLES
from resources.errors import EmergenceError, require_known
from resources.tables.parquet import verify_table
from resources.tables.table import Table

Filters = Mapping[str, str]
"""Column, or field of a cell, to the typed value."""
CELL_FIELDS = Cell._fields
MEASUREMENT = {"control_id": "none", "aggregate": "none"}
"""Default values of these columns in the address of a row, used where more than one row matches."""
SHOWN = 12
"""Maximum number of choices that an error lists."""


@dataclass(frozen=True)
class Target:
    """One cell, or a row or figure in it."""

    spec: AssetSpec
    cell: Cell
    fingerprint: str
    """Fingerprint of the stored cell; empty when the cell is not stored or is damaged."""
    row: Mapping[str, Any] | None = None
    """All columns of a row of a table."""
    key: Mapping[str, Any] | None = None
    """The columns that identify the row, or the name of a figure."""

    @property
    def lineage_id(self) -> str:
        """Short name of the cell, row or figure; empty when the cell is not stored."""
        if not self.fingerprint:
            return ""
        return row_id(self.fingerprint, self.key) if self.key else cell_id(self.fingerprint)

    @property
    def figure(self) -> str:
        """Name of the figure; empty for a cell or row."""
        return str((self.key or {}).get("figure", "")) if self.row is None else ""


def parse_filters(texts: Sequence[str]) -> dict[str, str]:
    """Parse `model=m,layer=4` into a mapping; blanks around names and values are ignored.

    Raises:
        EmergenceError: a part is not `name=value`, or a name is repeated.
    """
    filters: dict[str, str] = {}
    for part in ",".join(texts).split(","):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not part.strip():
            continue
        if not sign or not name:
            raise EmergenceError(f"{part.strip()!r} is not name=value.", remedy='type for example "model=m,layer=4"')
        if name in filters:
            raise EmergenceError(f"{name} is given twice.", remedy="leave one of them out")
        filters[name] = value
    return filters


def resolve(address: str, filters: Filters, plan: AuditPlan, events: EventLog) -> Target:
    """Find the cell, row or figure of an address.

    Raises:
        EmergenceError: no result or more than one result has this address; the message lists the choices.
    """
    if named := LINEAGE_ID.fullmatch(address):
        return _by_name(address, named[1], named[2] or "", plan, events)
    asset, _, part = address.partition("/")
    require_known("asset", [asset], plan.specs)
    spec = plan.specs[asset]
    if part and asset == "claims" and part.isdigit():
        return _row(spec, {"claim_id": str(int(part))} | dict(filters), plan)
    if part and asset == "report":
        return _figure(spec, part, plan)
    if part:
        cell = parse_cell(part)
        if cell is None:
            raise EmergenceError(f"{asset} has no cell {part!r}.", remedy="name a cell, such as model/step000512/L03")
        filters = {name: str(value) for name, value in cell._asdict().items() if value is not None} | dict(filters)
    named_fields = {"study": (), "model": CELL_FIELDS[:1], "step": CELL_FIELDS[:2], "cell": CELL_FIELDS}[spec.grid]
    if set(filters) <= set(named_fields):
        return _cell(spec, filters, plan)
    if spec.own_table is None:
        raise EmergenceError(
            f"{spec.name} has no {min(set(filters) - set(named_fields))}.",
            remedy=f"its cells are named by {', '.join(named_fields) or 'nothing: there is one'}",
        )
    return _row(spec, filters, plan)


def _stored(spec: AssetSpec, cell: Cell, plan: AuditPlan) -> str:
    record = plan.stored(spec, cell).record
    return record.fingerprint if record else ""


def _cell(spec: AssetSpec, filters: Filters, plan: AuditPlan) -> Target:
    cells = _cells(spec, filters, plan)
    if len(cells) > 1:
        open_fields = [name for name in CELL_FIELDS if len({getattr(cell, name) for cell in cells}) > 1]
        choices = {name: [getattr(cell, name) for cell in cells] for name in open_fields}
        raise _ambiguous(spec.name, len(cells), choices)
    if not cells:
        raise EmergenceError(f"{spec.name} has no cells in this study.", remedy="type `emergence checkpoints`")
    return Target(spec, cells[0], _stored(spec, cells[0], plan))


def _cells(spec: AssetSpec, filters: Filters, plan: AuditPlan) -> list[Cell]:
    """Return the cells with the model, step and layer of the filters; fields unknown to the asset are ignored."""
    cells = plan.cells(spec)
    for name, value in filters.items():
        there = [getattr(cell, name) for cell in cells]
        if any(part is not None for part in there):
            cells = [cell for cell, part in zip(cells, there, strict=True) if _is(part, value)]
            if not cells:
                raise _no_match(spec, name, value, there)
    return cells


def _figure(spec: AssetSpec, name: str, plan: AuditPlan) -> Target:
    folder = spec.path(plan.storage, Cell())
    there = sorted(path.stem for path in folder.glob("*.png"))
    if name not in there or name not in FIGURE_TABLES:
        raise EmergenceError(
            f"The report has no figure {name!r}.", where=folder, remedy=f"choose from {', '.join(there) or 'none yet'}"
        )
    return Target(spec, Cell(), _stored(spec, Cell(), plan), key=figure_key(name))


def _row(spec: AssetSpec, filters: Filters, plan: AuditPlan) -> Target:
    table = _declared(spec)
    columns = table.schema.names()
    require_known(f"column of {spec.name}", sorted({*filters} - {*CELL_FIELDS}), columns)
    cells = _cells(spec, {name: value for name, value in filters.items() if name in CELL_FIELDS}, plan)
    matches: list[tuple[Cell, dict[str, Any]]] = []
    problem: EmergenceError | None = None
    for cell in cells:
        try:
            matches += [(cell, key) for key in _matching(spec, cell, table, filters, plan)]
        except EmergenceError as error:
            problem = error
    if not matches:
        raise problem or EmergenceError(f"{spec.name} was not made yet.", remedy="type `emergence run`")
    for name, value in MEASUREMENT.items():
        if len(matches) > 1 and name not in filters and any(key.get(name) == value for _, key in matches):
            matches = [(cell, key) for cell, key in matches if key.get(name) == value]
    if len(matches) > 1:
        keys = {name: [key[name] for _, key in matches] for name in table.key}
        raise _ambiguous(
            spec.name, len(matches), {name: values for name, values in keys.items() if len(set(values)) > 1}
        )
    cell, key = matches[0]
    return Target(spec, cell, _stored(spec, cell, plan), _whole_row(spec, cell, table, key, plan), key)


def _matching(spec: AssetSpec, cell: Cell, table: Table, filters: Filters, plan: AuditPlan) -> list[dict[str, Any]]:
    """Return the keys of the rows of one file that match the filters."""
    path = spec.path(plan.storage, cell)
    if not path.exists():
        raise EmergenceError(f"{spec.name} of {cell} was not made yet.", where=path, remedy="type `emergence run`")
    verify_table(path)
    wanted = [name for name in filters if name in table.schema]
    frame = (
        pl.scan_parquet(path, glob=False, hive_partitioning=False)
        .select(list(dict.fromkeys([*table.key, *wanted])))
        .collect()
    )
    for name in wanted:
        kept = frame.filter(pl.col(name).is_not_null() & _equals(name, frame.schema[name], filters[name]))
        if kept.is_empty():
            raise _no_match(spec, name, filters[name], frame[name].unique().sort().to_list())
        frame = kept
    return frame.select(table.key).unique(maintain_order=True).to_dicts()


def _whole_row(spec: AssetSpec, cell: Cell, table: Table, key: Mapping[str, Any], plan: AuditPlan) -> dict[str, Any]:
    exact = [pl.col(name).eq_missing(pl.lit(value)) for name, value in key.items()]
    path = spec.path(plan.storage, cell)
    rows = pl.scan_parquet(path, glob=False, hive_partitioning=False).filter(exact).collect()
    return rows.row(0, named=True)


def _by_name(address: str, cell_digits: str, row_digits: str, plan: AuditPlan, events: EventLog) -> Target:
    """Find the result with a lineage id: in small records first, then in the event log, then in every file."""
    specs = plan.specs.values()
    tables = ((spec, cell) for spec in specs if not spec.has_partitions for cell in plan.cells(spec))
    logged = ((plan.specs[name], cell) for name, cell in events.with_fingerprint(cell_digits) if name in plan.specs)
    partitions = ((spec, cell) for spec in specs if spec.has_partitions for cell in plan.cells(spec))
    matches: list[tuple[AssetSpec, Cell]] = []
    for candidates in (tables, logged, partitions):
        matches = matches or [one for one in candidates if _stored(*one, plan).startswith(cell_digits)]
    if not matches:
        raise EmergenceError(
            f"No stored result has the lineage id {address}.",
            where=plan.storage.root,
            remedy="a result made again from other inputs has another id; take the id from the current report, or "
            "name an asset",
        )
    if len(matches) > 1:
        raise _ambiguous(address, len(matches), {"cell": [f"{spec.name} {cell}" for spec, cell in matches]})
    spec, cell = matches[0]
    fingerprint = _stored(spec, cell, plan)
    if not row_digits:
        return Target(spec, cell, fingerprint)
    is_figure = spec.name == "report"
    keys = (
        [figure_key(name) for name in FIGURE_TABLES] if is_figure else _matching(spec, cell, _declared(spec), {}, plan)
    )
    meant = [key for key in keys if row_id(fingerprint, key) == address]
    if len(meant) != 1:
        raise EmergenceError(
            f"{len(meant)} rows of {spec.name} of {cell} have the lineage id {address}.", remedy="name its columns"
        )
    row = None if is_figure else _whole_row(spec, cell, _declared(spec), meant[0], plan)
    return Target(spec, cell, fingerprint, row, meant[0])


def _declared(spec: AssetSpec) -> Table:
    table = spec.own_table
    if table is None:
        raise EmergenceError(f"{spec.name} is not a table and has no rows.", remedy="name one of its cells")
    return table


def _is(value: Any, typed: str) -> bool:
    return value is not None and (str(value) == typed or (isinstance(value, int) and _number(typed) == value))


def _number(typed: str) -> int | None:
    return int(typed) if re.fullmatch(r"-?\d{1,18}", typed) else None


def _equals(name: str, dtype: pl.DataType, typed: str) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_numeric():
        try:
            return column.cast(pl.Float64) == float(typed)
        except ValueError:
            return pl.lit(False)
    return column.cast(pl.String) == typed


def _no_match(spec: AssetSpec, name: str, value: str, there: Sequence[Any]) -> EmergenceError:
    return EmergenceError(f"{spec.name} has nothing with {name} {value!r}.", remedy=f"choose from {_listed(there)}")


def _ambiguous(what: str, number: int, choices: Mapping[str, Sequence[Any]]) -> EmergenceError:
    listed = "; ".join(f"{name}: {_listed(values)}" for name, values in choices.items())
    return EmergenceError(f"{what} has {number} matches.", remedy=f"choose one with --where; {listed}")


def _listed(values: Sequence[Any]) -> str:
    known = list(dict.fromkeys(str(value) for value in values if value is not None))
    return ", ".join(known[:SHOWN]) + (f" and {len(known) - SHOWN} more" if len(known) > SHOWN else "")
