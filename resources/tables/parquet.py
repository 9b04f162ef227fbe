"""Parquet files of declared tables (columns, types, units, ranges, keys), with provenance and checksum.

Every file has the SHA-256 of its bytes, computed with zeros in place of the checksum, because polars neither writes
nor checks checksums: it reads a flipped bit as another number, or aborts the process. `resources.tables.expectations`
checks the data against the declaration.
"""

import io
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import polars as pl

from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors, replacing_file
from resources.files.provenance import Provenance
from resources.tables.parquet_memory import require_memory
from resources.tables.table import Table

PROVENANCE_KEY = "emergence_provenance"
CHECKSUM_KEY = "emergence_sha256"
_NO_CHECKSUM = b"0" * 64
_MAGIC = b"PAR1"


def write_table(path: Path, frame: pl.DataFrame, table: Table, provenance: str) -> None:
    """Write a frame as the declared table, atomically.

    Raises:
        EmergenceError: columns or types differ from the declaration, or the disk cannot be written.
    """
    ordered = _conform(frame, table, path)
    # In memory first: polars would report a full disk as an error of the parquet format.
    content = io.BytesIO()
    keys = {PROVENANCE_KEY: provenance, CHECKSUM_KEY: _NO_CHECKSUM.decode()}
    ordered.write_parquet(content, compression="zstd", metadata=keys)
    without_checksum = content.getvalue()
    place = _footer_value(without_checksum, CHECKSUM_KEY)
    if place is None:
        raise RuntimeError("polars writes its metadata in a format that is not known")
    with clear_disk_errors(path), replacing_file(path) as temporary:
        temporary.write_bytes(_with(without_checksum, place, sha256(without_checksum).hexdigest().encode()))


def read_table(path: Path, table: Table) -> pl.DataFrame:
    """Read a table and check it against its checksum and its declaration.

    Raises:
        EmergenceError: the file is unreadable or altered, it does not fit into memory, or its columns or types differ
            from the declaration.
    """
    content = _checked(path)
    try:
        frame = pl.read_parquet(io.BytesIO(content))
    except pl.exceptions.PolarsError as error:
        raise _damaged(path, str(error)) from None
    return _conform(frame, table, path)


def verify_table(path: Path) -> None:
    """Compare a table with its checksum, so that it can be read.

    Raises:
        EmergenceError: the file is unreadable or altered, or it does not fit into memory.
    """
    _checked(path)


def table_checksum(path: Path) -> str:
    """Read the checksum stored in a table, from its footer only; empty without a file.

    Raises:
        EmergenceError: the file is damaged or has no checksum.
    """
    return _footer_text(path, CHECKSUM_KEY, "it has no checksum") or ""


def read_tables(paths: Sequence[Path], table: Table) -> pl.DataFrame:
    """Read and concatenate the parts of a table."""
    parts = [read_table(path, table) for path in paths]
    return pl.concat(parts) if parts else table.schema.to_frame()


def table_provenance(path: Path) -> str | None:
    """Read the provenance text inside a parquet file; None without a file.

    Raises:
        EmergenceError: the file is damaged or has no provenance.
    """
    return _footer_text(path, PROVENANCE_KEY, "it has no provenance")


def _footer_text(path: Path, key: str, lacks: str) -> str | None:
    """Read the value of a metadata key of a file; None without a file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - 8))
            tail = file.read()
            length = int.from_bytes(tail[:4], "little") + 8
            if len(tail) < 8 or tail[4:] != _MAGIC or length > size:
                raise _damaged(path, "it is not a complete parquet file")
            file.seek(size - length)
            footer = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, str(error)) from None
    place = _footer_value(footer, key)
    if place is None:
        raise _damaged(path, lacks)
    return footer[place].decode(errors="replace")


def parquet_provenance(path: Path) -> Provenance | None:
    """Read the provenance inside a parquet file; None without a file."""
    text = table_provenance(path)
    return None if text is None else Provenance.from_json(text, path)


def _checked(path: Path) -> bytes:
    """Read a file and check its checksum, and the memory that its table takes."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _damaged(path, str(error)) from None
    place = _footer_value(content, CHECKSUM_KEY)
    if place is None:
        raise _damaged(path, "it has no checksum")
    if sha256(_with(content, place, _NO_CHECKSUM)).hexdigest().encode() != content[place]:
        raise _damaged(path, "its bytes are not those that were written")
    require_memory(path, content)
    return content


def _footer_value(content: bytes, key: str) -> slice | None:
    """Find the value of a metadata key without polars, which may abort the process at damaged bytes.

    The footer is at the end of the file. A string in it is a type byte, its length as a varint, and its bytes (Apache
    Thrift, compact protocol).
    """
    marker = key.encode() + b"\x18"
    start = content.rfind(marker)
    length = shift = 0
    for position in range(start + len(marker), len(content) if start >= 0 else 0):
        length |= (content[position] & 0x7F) << shift
        shift += 7
        if content[position] < 0x80:
            place = slice(position + 1, position + 1 + length)
            return place if place.stop <= len(content) else None
    return None


def _with(content: bytes, place: slice, value: bytes) -> bytes:
    return content[: place.start] + value + content[place.stop :]


def _conform(frame: pl.DataFrame, table: Table, path: Path) -> pl.DataFrame:
    expected, actual = table.schema, frame.schema
    missing, unknown = set(expected) - set(actual), set(actual) - set(expected)
    if missing or unknown:
        raise _damaged(path, f"table {table.name} lacks {sorted(missing)} and has unknown {sorted(unknown)}")
    ordered = frame.select(list(expected))
    wrong = [f"{name} is {actual[name]}, not {dtype}" for name, dtype in expected.items() if actual[name] != dtype]
    if wrong:
        raise _damaged(path, f"table {table.name}: " + "; ".join(wrong))
    return ordered


def _damaged(path: Path, what: str) -> EmergenceError:
    return EmergenceError(
        f"The table cannot be used: {what.partition(chr(10))[0]}.", where=path, remedy="delete it and run again"
    )
