"""Differences between two states of a study, each in a data folder of its own: settings, code, inputs, numbers.

Records are compared cell by cell, tables row by row under their declared keys. No file is changed.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from emergence_assets.audit.records import AuditPlan
from emergence_assets.emergence.claims.replication import ABOUT
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.plan import Plan
from resources.errors import EmergenceError
from resources.files.provenance import Provenance, canonical_json, changed_names
from resources.tables.parquet import read_tables
from resources.tables.table import Table

MAX_LISTED = 5
"""Maximum number of listed changes per table; all changes are counted."""
IGNORED_COLUMNS = ("data_version", "claim_id")
"""Columns that are not compared."""
IGNORED_FIELDS = ("run_id",)
"""Fields of the environment that differ between any two runs."""


@dataclass(frozen=True)
class Moved:
    """One changed number."""

    key: Mapping[str, Any]
    column: str
    before: float
    after: float


@dataclass
class TableChange:
    """Changes of one table between two states."""

    table: str
    added: int = 0
    removed: int = 0
    changed: int = 0
    """Number of rows in which a value differs."""
    problem: str = ""
    """Reason why the rows cannot be compared: a damaged file, or a version with other columns."""
    largest: list[Moved] = field(default_factory=list)


@dataclass
class StateDifference:
    """All differences between two states."""

    first: str
    second: str
    settings: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    """Asset to setting to [value before, value after]."""
    code: dict[str, list[str]] = field(default_factory=dict)
    """Asset to [code version before, code version after], where they differ."""
    environment: dict[str, list[list[Any]]] = field(default_factory=dict)
    """Field of the environment to [all values before, all values after], where they differ."""
    inputs: dict[str, int] = field(default_factory=dict)
    """Asset to the number of cells made from other inputs by the same settings and code."""
    cells: dict[str, dict[str, int]] = field(default_factory=dict)
    """Asset to the number of cells by kind: same, changed, added, removed, damaged."""
    tables: list[TableChange] = field(default_factory=list)
    grades: list[dict[str, Any]] = field(default_factory=list)
    """Claims whose grade changed, and claims that were added or removed."""

    @property
    def is_same(self) -> bool:
        """Whether all results and their provenance agree; dates and runs may differ."""
        same = all(set(counts) <= {"same"} for counts in self.cells.values())
        return same and not self.tables and not self.grades

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"same": self.is_same}


def compare_states(first: Plan, second: Plan) -> StateDifference:
    """Compare two states of one study."""
    before, after = AuditPlan(first), AuditPlan(second)
    difference = StateDifference(str(first.storage.data), str(second.storage.data))
    made: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
    for spec in first.specs.values():
        counts = Counter[str]()
        for cell in dict.fromkeys((*before.cells(spec), *after.cells(spec))):
            one, other = before.stored(spec, cell), after.stored(spec, cell)
            for values, record in zip(made, (one.record, other.record), strict=True):
                for name, value in (record.environment if record else {}).items():
                    if name not in IGNORED_FIELDS:
                        values.setdefault(name, set()).add(canonical_json(value))
            kind = _kind(one.record, other.record, bool(one.damage or other.damage))
            if kind:
                counts[kind] += 1
            if one.record and other.record and kind == "changed":
                _add_reasons(difference, spec, one.record, other.record)
        difference.cells[spec.name] = dict(counts)
    names = sorted({*made[0], *made[1]})
    values = {name: [sorted(part.get(name, ())) for part in made] for name in names}
    difference.environment = {name: both for name, both in values.items() if both[0] != both[1]}
    for name, spec in first.specs.items():
        table = spec.own_table
        if table is not None and not spec.has_partitions:
            try:
                if name == "claims":
                    difference.grades = list(_grades(before, after, spec, table))
                elif change := _table(before, after, spec, table):
                    difference.tables.append(change)
            except EmergenceError as error:
                difference.tables.append(TableChange(name, problem=str(error)))
    return difference


def _kind(one: Provenance | None, other: Provenance | None, is_damaged: bool) -> str:
    if is_damaged:
        return "damaged"
    if one is None or other is None:
        return "" if one is other else "added" if one is None else "removed"
    return "same" if one.fingerprint == other.fingerprint else "changed"


def _add_reasons(difference: StateDifference, spec: AssetSpec, one: Provenance, other: Provenance) -> None:
    before, after = one.required.recipe, other.required.recipe
    settings = {name: [before.get(name), after.get(name)] for name in changed_names(before, after)}
    if settings:
        difference.settings.setdefault(spec.name, {}).update(settings)
    if one.required.code_version != other.required.code_version:
        difference.code[spec.name] = [one.required.code_version, other.required.code_version]
    elif not settings:
        difference.inputs[spec.name] = difference.inputs.get(spec.name, 0) + 1


def _frame(plan: Plan, spec: AssetSpec, table: Table) -> pl.DataFrame:
    """Read all existing parts of a table."""
    paths = [spec.path(plan.storage, cell) for cell in plan.cells(spec)]
    return read_tables([path for path in paths if path.exists()], table)


def _table(before: Plan, after: Plan, spec: AssetSpec, table: Table) -> TableChange | None:
    key = list(table.key)
    one, other = _frame(before, spec, table), _frame(after, spec, table)
    same_rows = one.join(other, on=key, how="semi", nulls_equal=True)
    change = TableChange(spec.name, added=other.height - same_rows.height, removed=one.height - same_rows.height)
    values = [name for name in one.columns if name not in key and name not in IGNORED_COLUMNS]
    both = one.select(*key, *values).join(other.select(*key, *values), on=key, suffix="|after", nulls_equal=True)
    differs = [pl.col(name).ne_missing(pl.col(f"{name}|after")) for name in values if not one.schema[name].is_nested()]
    change.changed = both.filter(pl.any_horizontal(differs)).height if differs else 0
    moved = itertools.chain.from_iterable(_largest(both, key, name) for name in values if one.schema[name].is_float())
    change.largest = sorted(moved, key=lambda one: -abs(one.after - one.before))[:MAX_LISTED]
    return change if change.added or change.removed or change.changed else None


def _largest(both: pl.DataFrame, key: list[str], name: str) -> Iterator[Moved]:
    apart = (pl.col(f"{name}|after").cast(pl.Float64) - pl.col(name).cast(pl.Float64)).abs()
    kept = both.with_columns(apart=apart).filter(pl.col("apart").is_finite() & (pl.col("apart") > 0))
    for row in kept.top_k(MAX_LISTED, by="apart").iter_rows(named=True):
        yield Moved({part: row[part] for part in key}, name, row[name], row[f"{name}|after"])


def _grades(before: Plan, after: Plan, spec: AssetSpec, table: Table) -> Iterator[dict[str, Any]]:
    first, second = (_claims(_frame(plan, spec, table)) for plan in (before, after))
    for key in dict.fromkeys((*first, *second)):
        was, now = first.get(key), second.get(key)
        if was is None or now is None or was["grade"] != now["grade"]:
            claim = now or was or {}
            yield {name: claim[name] for name in ("statement", *ABOUT)} | {
                "before": was["grade"] if was else None,
                "after": now["grade"] if now else None,
            }


def _claims(frame: pl.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the claims by subject, and by position among the claims about the same subject."""
    numbered = frame.sort("claim_id").with_columns(position=pl.int_range(pl.len()).over(ABOUT))
    return numbered.rows_by_key([*ABOUT, "position"], named=True, include_key=True, unique=True)
