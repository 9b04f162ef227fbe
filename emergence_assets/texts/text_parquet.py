"""Read the rows of a parquet file, in batches that bound the memory whatever the file states.

A kilobyte can hold a million references to one long text, a page that decompresses to gigabytes, or a footer that
admits neither. So the headers of all pages are read first, then as many rows at once as fit if every one of them were
as long as the largest page: no value is longer than the page that holds it. Read with pyarrow: polars panics, or ends
the process, at some damaged bytes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emergence_assets.texts.text_limits import Limits, Row
from resources.tables.parquet_pages import (
    DELTA_BINARY_PACKED,
    PLAIN,
    PLAIN_DICTIONARY,
    RLE_DICTIONARY,
    Page,
    read_pages,
)

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

MAX_BATCH_BYTES, MAX_BATCH_ROWS = 128 * 2**20, 10_000
_ENCODINGS = (PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY, DELTA_BINARY_PACKED)
"""Others (DELTA_BYTE_ARRAY …) share parts between values, and take memory for as many values as they state."""


def parquet_rows(path: Path, columns: Sequence[str], limits: Limits) -> Iterator[Row]:
    """Yield the rows of a parquet file, with their number.

    Raises:
        EmergenceError: the file is damaged, beyond a limit, or lacks a column of texts.
        OSError: the file cannot be read.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            limits.places(path, file.schema_arrow.names, columns)
            for column in columns:
                _check_type(path, column, file.schema_arrow.field(column).type, limits)
            if file.metadata.num_rows > limits.max_texts:
                what = f"it has {file.metadata.num_rows} rows, more than {limits.max_texts}"
                raise limits.refused(path, what, "give fewer texts")
            n_rows, n_bytes = 1, 0
            n_at_once = _rows_per_batch(path, file, columns, limits)
            for batch in file.iter_batches(n_at_once, columns=list(columns)):
                for column in columns:
                    n_bytes += _check_values(path, column, batch.column(column), n_rows, limits)
                if n_bytes > limits.max_bytes:
                    raise limits.refused(
                        path, f"its columns take more than {limits.max_bytes} bytes", "give fewer texts"
                    )
                values = [batch.column(column).to_pylist() for column in columns]
                for fields in zip(*values, strict=True):
                    yield n_rows, [None if value is None else str(value) for value in fields]
                    n_rows += 1
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        raise limits.refused(path, f"it is no whole parquet file ({error!s:.200})", "write it again") from None


def _check_type(path: Path, column: str, dtype: Any, limits: Limits) -> None:
    import pyarrow.types

    plain = dtype.value_type if pyarrow.types.is_dictionary(dtype) else dtype
    texts = (pyarrow.types.is_string, pyarrow.types.is_large_string, pyarrow.types.is_string_view)
    if not pyarrow.types.is_integer(plain) and not any(is_text(plain) for is_text in texts):
        raise limits.refused(path, f"column {column} holds {dtype!s:.80}, not text", "cast it to strings")


def _rows_per_batch(path: Path, file: "pyarrow.parquet.ParquetFile", columns: Sequence[str], limits: Limits) -> int:
    """Read the headers of all pages; return the rows that fit into `MAX_BATCH_BYTES` however they are encoded.

    Raises:
        EmergenceError: the pages are too large together, or of an encoding that shares parts between values.
        ValueError: a header is damaged.
    """
    n_bytes, largest = 0, dict.fromkeys(columns, 1)
    for column, page in _pages(path, file, columns):
        if page.encoding not in _ENCODINGS:
            what = f"column {column} has an encoding that is not read (number {page.encoding} of the parquet format)"
            raise limits.refused(path, what, "write it with plain or dictionary encoding")
        n_bytes += page.n_bytes
        largest[column] = max(largest[column], page.n_bytes)
        if n_bytes > limits.max_bytes:
            what = f"its columns take {n_bytes} bytes or more, more than {limits.max_bytes}"
            raise limits.refused(path, what, "give fewer texts")
    return max(1, min(MAX_BATCH_ROWS, MAX_BATCH_BYTES // sum(largest.values())))


def _pages(path: Path, file: "pyarrow.parquet.ParquetFile", columns: Sequence[str]) -> Iterator[tuple[str, Page]]:
    names = [file.schema.column(position).path for position in range(len(file.schema))]
    wanted = {position: name for position, name in enumerate(names) if name in columns}
    with path.open("rb") as stream:
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            for position, name in wanted.items():
                for page in read_pages(stream, group.column(position)):
                    yield name, page


def _check_values(path: Path, column: str, values: "pyarrow.Array", first_row: int, limits: Limits) -> int:
    """Refuse a value that is too long, before it becomes a Python string; return the bytes of all values."""
    import pyarrow
    import pyarrow.compute
    import pyarrow.types

    plain = values.dictionary_decode() if isinstance(values, pyarrow.DictionaryArray) else values
    if pyarrow.types.is_integer(plain.type):
        return plain.nbytes
    lengths = pyarrow.compute.binary_length(plain.cast(pyarrow.large_string()))  # pyright: ignore[reportAttributeAccessIssue]
    n_bytes = pyarrow.compute.fill_null(lengths, 0).to_numpy(zero_copy_only=False)
    # A character has 4 bytes at most; `probe_file` counts characters.
    for row in (n_bytes > 4 * limits.max_characters).nonzero()[0][:1]:
        what = f"column {column} has more than {limits.max_characters} characters in row {first_row + int(row)}"
        raise limits.refused(path, what, "shorten it")
    return int(n_bytes.sum())
