"""Memory that a table takes when it is read, from its footer: a file of kilobytes can hold a billion equal rows."""

import io
from pathlib import Path

from resources.compute.machine import available_memory
from resources.errors import EmergenceError

ALWAYS_READ = 2**28
"""Tables that take fewer bytes are read without a look at the memory that is left."""
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8}
_WIDTH_OF_TEXT = 16
"""Bytes of a reference to a text; polars keeps repeated texts once."""


def require_memory(path: Path, content: bytes) -> None:
    """Refuse a table that does not fit into memory.

    Args:
        path: file of the table.
        content: its bytes.

    Raises:
        EmergenceError: the table takes more memory than is available, or its footer is damaged.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        footer = pyarrow.parquet.read_metadata(io.BytesIO(content))
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        columns = [group.column(number) for group in groups for number in range(group.num_columns)]
        n_bytes = sum(column.num_values * _WIDTHS.get(column.physical_type, _WIDTH_OF_TEXT) for column in columns)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        what = f"The table cannot be used: its footer is damaged ({error!s:.200})."
        raise EmergenceError(what, where=path, remedy="delete it and run again") from None
    if n_bytes > ALWAYS_READ and n_bytes > (most := available_memory()):
        raise EmergenceError(
            f"The table takes {n_bytes} bytes of memory, and {most} are available.",
            where=path,
            remedy="use a machine with more memory; if no study of yours is that large, delete the file and run again",
        )
