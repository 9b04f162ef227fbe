"""Tables: declared once (columns, types, units, ranges, keys), written and read as parquet with their provenance.

What a declaration demands of the data is checked by `resources.expectations`.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.errors import EmergenceError
from resources.storage import clear_disk_errors, replacing_file

PROVENANCE_KEY = "emergence_provenance"


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    dtype: Any
    """Polars data type."""
    description: str
    unit: str = "1"
    minimum: float | None = None
    maximum: float | None = None
    one_of: tuple[str, ...] = ()
    """All values it may take; empty for any."""
    nullable: bool = False


@dataclass(frozen=True)
class Ordered:
    """low <= middle <= high wherever none of them is null."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table: what one row is, its columns and the columns that identify a row."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    ordered: tuple[Ordered, ...] = field(default=())

    @property
    def schema(self) -> pl.Schema:
        """Polars schema of the parquet file."""
        return pl.Schema({column.name: column.dtype for column in self.columns})


def write_table(path: Path, frame: pl.DataFrame, table: Table, provenance: str) -> None:
    """Write a frame as the declared table, atomically.

    Raises:
        EmergenceError: columns or types differ from the declaration, or the disk refuses.
    """
    ordered = _conform(frame, table, path)
    # By way of memory: polars would report a full disk as a fault of the parquet format.
    content = io.BytesIO()
    ordered.write_parquet(content, compression="zstd", metadata={PROVENANCE_KEY: provenance})
    with clear_disk_errors(path), replacing_file(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_table(path: Path, table: Table) -> pl.DataFrame:
    """Read a table and check it against its declaration.

    Raises:
        EmergenceError: unreadable, or other columns or types than declared.
    """
    try:
        # Neither is a * or [ in the path a pattern, nor does model=name in it add a column.
        frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:  # it panics at odd bytes
        raise _damaged(path, (str(error).splitlines() or ["it is damaged"])[0]) from None
    return _conform(frame, table, path)


def read_tables(paths: Sequence[Path], table: Table) -> pl.DataFrame:
    """Read the parts of a table below each other."""
    parts = [read_table(path, table) for path in paths]
    return pl.concat(parts) if parts else table.schema.to_frame()


def table_provenance(path: Path) -> str | None:
    """Provenance text inside a parquet file; None when there is no file.

    Raises:
        EmergenceError: the file is damaged or not one of ours.
    """
    if not path.is_file():
        return None
    try:
        metadata = pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _damaged(path, (str(error).splitlines() or ["it is damaged"])[0]) from None
    if PROVENANCE_KEY not in metadata:
        raise _damaged(path, "it has no provenance")
    return metadata[PROVENANCE_KEY]


def _conform(frame: pl.DataFrame, table: Table, path: Path) -> pl.DataFrame:
    expected, found = table.schema, frame.schema
    missing, strange = set(expected) - set(found), set(found) - set(expected)
    if missing or strange:
        raise _damaged(path, f"table {table.name} lacks {sorted(missing)} and has unknown {sorted(strange)}")
    ordered = frame.select(list(expected))
    wrong = [f"{name} is {found[name]}, not {dtype}" for name, dtype in expected.items() if found[name] != dtype]
    if wrong:
        raise _damaged(path, f"table {table.name}: " + "; ".join(wrong))
    return ordered


def _damaged(path: Path, what: str) -> EmergenceError:
    return EmergenceError(f"The table cannot be used: {what}.", where=path, remedy="delete it and run again")
