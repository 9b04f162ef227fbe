"""zarr, format 3: chunks of 8 MiB with its default compression, rows by orthogonal index. Runs in `.peers`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr
from peers_store import batch_indices

CHUNK_ROWS = 8192
MAX_BATCHES = 3
"""An epoch would take minutes: the rate is that of the first few."""


def write(rows_td: np.ndarray, folder: Path) -> None:
    """The whole array at once."""
    array = zarr.create_array(
        folder / "rows.zarr", shape=rows_td.shape, dtype=rows_td.dtype, chunks=(CHUNK_ROWS, rows_td.shape[1])
    )
    array[:] = rows_td


def batches(folder: Path, order: np.ndarray) -> Iterator[np.ndarray]:
    """Rows by number, ascending; every batch touches every chunk."""
    array = zarr.open_array(folder / "rows.zarr", mode="r")
    for number, chosen in enumerate(batch_indices(order)):
        if number == MAX_BATCHES:
            return
        yield array.oindex[np.sort(chosen)]
