"""Read and check a user's file of texts: CSV, JSON lines or parquet, by its suffix.

14,000 questions take 0.1 s. `text_limits.py` has the limits; a file beyond one is refused before it takes the memory.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl

from emergence_assets.texts.text_limits import PROBE_FILE, Limits, Row
from emergence_assets.texts.text_lines import csv_rows, json_rows
from emergence_assets.texts.text_parquet import parquet_rows
from resources.errors import EmergenceError

PLACE = "place"
"""Column with the position of a row in the file: `line 17` or `row 17`."""
_READERS: dict[str, Callable[[Path, Sequence[str], Limits], Iterator[Row]]] = {
    ".csv": csv_rows,
    ".tsv": csv_rows,
    ".jsonl": json_rows,
    ".ndjson": json_rows,
    ".parquet": parquet_rows,
}


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
        if (n_bytes := path.stat().st_size) > PROBE_FILE.max_bytes:
            raise PROBE_FILE.refused(
                path, f"it has {n_bytes} bytes, more than {PROBE_FILE.max_bytes}", "give fewer texts"
            )
        frame = _frame(path, columns, reader(path, columns, PROBE_FILE))
    except OSError as error:
        raise PROBE_FILE.refused(path, error.strerror or str(error), "check path and rights") from None
    for column in columns:
        _check_values(path, frame, column, may_be_missing=column in optional)
    return frame


def _check_values(path: Path, frame: pl.DataFrame, column: str, *, may_be_missing: bool) -> None:
    missing = pl.col(column).is_null() | (pl.col(column).str.strip_chars() == "")
    faults = [
        (
            pl.col(column).str.len_chars() > PROBE_FILE.max_characters,
            f"has more than {PROBE_FILE.max_characters} characters",
            "shorten it",
        ),
        (pl.col(column).str.contains("\0", literal=True), "holds a NUL", "remove it"),
    ]
    if not may_be_missing:
        faults.insert(0, (missing, "is empty", "fill it, or remove the line"))
    for condition, what, remedy in faults:
        if not (broken := frame.filter(condition)).is_empty():
            more = f", and so in {len(broken) - 1} more" if len(broken) > 1 else ""
            raise PROBE_FILE.refused(path, f"column {column} {what} in {broken[PLACE][0]}{more}", remedy)


def _frame(path: Path, columns: Sequence[str], rows: Iterator[Row]) -> pl.DataFrame:
    kind = "row" if path.suffix.lower() == ".parquet" else "line"
    numbers: list[str] = []
    values: list[Sequence[str | None]] = []
    for number, fields in rows:
        if len(values) == PROBE_FILE.max_texts:
            raise PROBE_FILE.refused(path, f"it has more than {PROBE_FILE.max_texts} texts", "give fewer texts")
        numbers.append(f"{kind} {number}")
        values.append(fields)
    frame = pl.DataFrame(values, schema=dict.fromkeys(columns, pl.String), orient="row")
    return frame.with_columns(pl.Series(PLACE, numbers, dtype=pl.String))
