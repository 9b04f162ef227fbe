"""Read the rows of a CSV or JSON-lines file line by line, so that errors name the line and a line bounds the memory."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from pydantic_core import from_json

from emergence_assets.texts.text_limits import SHOWN_CHARACTERS, Limits, Row

COMPRESSED = (".gz", ".zst")
"""Endings of compressed files; only as many bytes are decompressed as lines are read."""


def csv_rows(path: Path, columns: Sequence[str], limits: Limits) -> Iterator[Row]:
    """Yield the rows of a file that ends in .csv or .tsv, with the number of their first line.

    Raises:
        EmergenceError: the file is damaged, beyond a limit, or lacks a column of texts.
        OSError: the file cannot be read.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(_lines(path, limits, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        wanted = limits.places(path, header, columns)
        first = reader.line_num + 1
        for fields in reader:
            if fields and len(fields) != len(header):
                what = f"line {first} has {len(fields)} fields, the header has {len(header)}"
                raise limits.refused(path, what, "put quotes around a text with a comma, or correct the line")
            if fields:
                yield first, [fields[i] or None for i in wanted]
            first = reader.line_num + 1
    except csv.Error as error:
        raise limits.refused(path, f"line {reader.line_num}: {error}", "correct the line") from None


def json_rows(path: Path, columns: Sequence[str], limits: Limits) -> Iterator[Row]:
    """Yield the rows of a file with a JSON object per line, with the number of their line.

    Raises:
        EmergenceError: the file is damaged, beyond a limit, or lacks a column of texts.
        OSError: the file cannot be read.
    """
    for number, line in enumerate(_lines(path, limits, newline="\n"), 1):
        if not line.strip():
            continue
        try:
            record = from_json(line)
        except ValueError as error:
            raise limits.refused(path, f"line {number} is no JSON: {error}", "correct the line") from None
        if not isinstance(record, dict):
            raise limits.refused(path, f"line {number} is no JSON object", 'write lines like {"text": "…"}')
        yield number, [_json_value(path, number, record, column, limits) for column in columns]


def text_lines(path: Path, limits: Limits) -> Iterator[str]:
    """Yield the lines of a text file, with their ends.

    Raises:
        EmergenceError: a line is too long, or is not UTF-8.
        OSError: the file cannot be read.
    """
    yield from _lines(path, limits, newline="\n")


def _json_value(path: Path, number: int, record: dict[str, Any], column: str, limits: Limits) -> str | None:
    if column not in record:
        has = ", ".join(list(record)[:10])[:SHOWN_CHARACTERS]
        raise limits.refused(
            path, f"line {number} has no {column}; it has {has}", f"give every line a {column}, or null"
        )
    value = record[column]
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    shown = "a list or an object" if isinstance(value, list | dict) else json.dumps(value)[:40]
    raise limits.refused(path, f"{column} in line {number} is {shown}", "write it as text")


def _lines(path: Path, limits: Limits, newline: str) -> Iterator[str]:
    """Yield the lines of a file, with their ends.

    Args:
        path: the file.
        limits: length limit of a line.
        newline: ends of lines, as `open` takes them.

    Raises:
        EmergenceError: a line is too long, or is not UTF-8.
    """
    most = limits.max_line_characters
    number = 0
    try:
        with _opened(path, newline) as file:
            while line := file.readline(most + 1):
                number += 1
                if len(line) > most:
                    raise limits.refused(path, f"line {number} has more than {most} characters", "shorten it")
                yield line
    except UnicodeDecodeError:
        # Python decodes in blocks, and so finds the error before the lines in front of it are read.
        raise limits.refused(path, f"line {_undecodable(path, most)} is not UTF-8", "save the file as UTF-8") from None


def _opened(path: Path, newline: str) -> TextIO:
    if path.suffix.lower() not in COMPRESSED:
        return path.open(encoding="utf-8-sig", newline=newline)
    import pyarrow

    return io.TextIOWrapper(pyarrow.input_stream(str(path), compression="detect"), "utf-8-sig", newline=newline)


def _undecodable(path: Path, most: int) -> int:
    """Return the number of the first line that is not UTF-8."""
    number = 1
    with path.open("rb") if path.suffix.lower() not in COMPRESSED else _unpacked(path) as file:
        while line := file.readline(4 * most):  # a character has 4 bytes at most
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                break
            number += 1
    return number


def _unpacked(path: Path) -> io.BufferedReader:
    import pyarrow

    return io.BufferedReader(pyarrow.input_stream(str(path), compression="detect"))
