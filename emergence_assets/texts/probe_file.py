"""Read and check a user's file of texts: CSV, JSON lines or parquet, by its suffix.

CSV and JSON lines are read line by line, so that errors name the line; 14,000 questions take 0.1 s.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic_core import from_json

from resources.errors import EmergenceError

MAX_BYTES = 512 * 2**20
"""Size limit of a file, and of its decompressed columns."""
MAX_TEXTS = 1_000_000
MAX_CHARACTERS = 100_000
"""Length limit of one value."""
PLACE = "place"
"""Column with the position of a row in the file: `line 17` or `row 17`."""
Row = tuple[int, Sequence[str | None]]


def read_probe_file(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> pl.DataFrame:
    """Read columns of a file as strings, in the order of the file, with the column `place`.

    Args:
        path: file that ends in .csv, .tsv, .jsonl, .ndjson or .parquet; text is UTF-8.
        columns: required columns.
        optional: columns whose values may be missing. A missing value is null; in CSV it is an empty field.

    Raises:
        EmergenceError: the file is missing, too large, damaged or of another suffix; a column is missing or holds
            neither text nor integers; a value is missing or too long. Names file, line and column.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise EmergenceError(
            f"The probe file ends in {path.suffix or 'nothing'!r}.",
            where=path,
            remedy=f"give a file that ends in one of {', '.join(_READERS)}",
        )
    if PLACE in columns:
        raise EmergenceError(f"A column has the reserved name {PLACE}.", where=path, remedy="rename it")
    try:
        if not path.is_file():
            raise EmergenceError(
                "There is no such probe file.", where=path, remedy="correct probe_set.path in the study"
            )
        if (n_bytes := path.stat().st_size) > MAX_BYTES:
            raise _refused(path, f"it has {n_bytes} bytes, more than {MAX_BYTES}", "give fewer texts")
        frame = reader(path, columns)
    except OSError as error:
        raise _refused(path, error.strerror or str(error), "check path and rights") from None
    for column in columns:
        _check_values(path, frame, column, may_be_missing=column in optional)
    return frame


def _check_values(path: Path, frame: pl.DataFrame, column: str, *, may_be_missing: bool) -> None:
    missing = pl.col(column).is_null() | (pl.col(column).str.strip_chars() == "")
    faults = [
        (pl.col(column).str.len_chars() > MAX_CHARACTERS, f"has more than {MAX_CHARACTERS} characters", "shorten it"),
        (pl.col(column).str.contains("\0", literal=True), "holds a NUL", "remove it"),
    ]
    if not may_be_missing:
        faults.insert(0, (missing, "is empty", "fill it, or remove the line"))
    for condition, what, remedy in faults:
        if not (broken := frame.filter(condition)).is_empty():
            more = f", and so in {len(broken) - 1} more" if len(broken) > 1 else ""
            raise _refused(path, f"column {column} {what} in {broken[PLACE][0]}{more}", remedy)


def _read_csv(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        places = _places(path, header, columns)

        def rows() -> Iterator[Row]:
            first = reader.line_num + 1
            for fields in reader:
                if fields and len(fields) != len(header):
                    what = f"line {first} has {len(fields)} fields, the header has {len(header)}"
                    raise _refused(path, what, "put quotes around a text with a comma, or correct the line")
                if fields:
                    yield first, [fields[i] or None for i in places]
                first = reader.line_num + 1

        return _frame(path, columns, rows())
    except csv.Error as error:
        raise _refused(path, f"line {reader.line_num}: {error}", "correct the line") from None


def _read_json_lines(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    def rows() -> Iterator[Row]:
        for number, line in enumerate(_text(path).split("\n"), 1):
            if not line.strip():
                continue
            try:
                record = from_json(line)
            except ValueError as error:
                raise _refused(path, f"line {number} is no JSON: {error}", "correct the line") from None
            if not isinstance(record, dict):
                raise _refused(path, f"line {number} is no JSON object", 'write lines like {"text": "…"}')
            yield number, [_json_value(path, number, record, column) for column in columns]

    return _frame(path, columns, rows())


def _json_value(path: Path, number: int, record: dict[str, Any], column: str) -> str | None:
    if column not in record:
        has = ", ".join(map(str, list(record)[:10]))
        raise _refused(path, f"line {number} has no {column}; it has {has}", f"give every line a {column}, or null")
    value = record[column]
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _refused(path, f"{column} in line {number} is {json.dumps(value)[:40]}", "write it as text")


def _read_parquet(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read with pyarrow into plain values: polars panics, or ends the process, at some damaged bytes."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _places(path, file.schema_arrow.names, columns)
            _check_size(path, file.metadata, columns)
            for column in columns:
                _check_type(path, column, file.schema_arrow.field(column).type)
            table = file.read(list(columns))
        values = {column: table.column(column).to_pylist() for column in columns}
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        raise _refused(path, f"it is no whole parquet file ({error})", "write it again") from None
    rows = zip(
        *([None if value is None else str(value) for value in values[column]] for column in columns), strict=True
    )
    return _frame(path, columns, enumerate(rows, 1), "row")


def _check_type(path: Path, column: str, dtype: Any) -> None:
    import pyarrow.types

    plain = dtype.value_type if pyarrow.types.is_dictionary(dtype) else dtype
    texts = (pyarrow.types.is_string, pyarrow.types.is_large_string, pyarrow.types.is_string_view)
    if not pyarrow.types.is_integer(plain) and not any(is_text(plain) for is_text in texts):
        raise _refused(path, f"column {column} holds {dtype}, not text", "cast it to strings")


def _check_size(path: Path, footer: Any, columns: Sequence[str]) -> None:
    """Refuse too many rows or bytes, from the sizes in the footer."""
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    parts = [group.column(i) for group in groups for i in range(group.num_columns)]
    n_bytes = sum(part.total_uncompressed_size for part in parts if part.path_in_schema in columns)
    if footer.num_rows > MAX_TEXTS:
        raise _refused(path, f"it has {footer.num_rows} rows, more than {MAX_TEXTS}", "give fewer texts")
    if n_bytes > MAX_BYTES:
        raise _refused(path, f"its columns take {n_bytes} bytes, more than {MAX_BYTES}", "give fewer texts")


_READERS: dict[str, Callable[[Path, Sequence[str]], pl.DataFrame]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _refused(path, f"line {line} is not UTF-8", "save the file as UTF-8") from None


def _places(path: Path, header: Sequence[str], columns: Sequence[str]) -> list[int]:
    """Position of every column in the header."""
    if lacking := [column for column in columns if column not in header]:
        what = f"it has no column {', '.join(lacking)}; it has {', '.join(header[:20]) or 'none'}"
        raise _refused(path, what, "correct the names in the study, or the header of the file")
    if repeated := [column for column in columns if list(header).count(column) > 1]:
        raise _refused(path, f"it has more than one column {repeated[0]}", "rename one of them")
    return [list(header).index(column) for column in columns]


def _frame(path: Path, columns: Sequence[str], rows: Iterable[Row], kind: str = "line") -> pl.DataFrame:
    numbers: list[str] = []
    values: list[Sequence[str | None]] = []
    for number, fields in rows:
        if len(values) == MAX_TEXTS:
            raise _refused(path, f"it has more than {MAX_TEXTS} texts", "give fewer texts")
        numbers.append(f"{kind} {number}")
        values.append(fields)
    frame = pl.DataFrame(values, schema=dict.fromkeys(columns, pl.String), orient="row")
    return frame.with_columns(pl.Series(PLACE, numbers, dtype=pl.String))


def _refused(path: Path, what: str, remedy: str) -> EmergenceError:
    return EmergenceError(f"The probe file cannot be used: {what}.", where=path, remedy=remedy)
