"""h5py as it is mostly used: chunks of its own choice, rows by fancy index in ascending order. Runs in `.peers`."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from peers_store import batch_indices

MAX_BATCHES = 3
"""An epoch would take minutes: the rate is that of the first few."""


def write(rows_td: np.ndarray, folder: Path) -> None:
    """The whole array at once."""
    with h5py.File(folder / "rows.h5", "w") as file:
        file.create_dataset("rows", data=rows_td, chunks=True)


def batches(folder: Path, order: np.ndarray) -> Iterator[np.ndarray]:
    """Rows by number, ascending."""
    with h5py.File(folder / "rows.h5", "r") as file:
        for number, chosen in enumerate(batch_indices(order)):
            if number == MAX_BATCHES:
                return
            yield file["rows"][np.sort(chosen)]
