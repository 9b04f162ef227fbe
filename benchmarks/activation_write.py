"""Write an activation file, compared with plain writes of the same blocks with a hash, with and without statistics."""

import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import xxhash

from benchmarks.activation_files import blocks_of, measure_shapes, write_file
from benchmarks.rounds import Table, measure_alternating
from emergence_assets.activations.files import writing
from emergence_assets.activations.files.moments import ColumnMoments

N_BYTES = 192 << 20
PIECE_BYTES = 1 << 20
"""Size of a plain write; a piece stays in cache between the write and the hash, as in ours."""
PLAIN, ONE_ROW = "plain, hash", "ours, a file of one row"


class NoMoments(ColumnMoments):
    """Statistics that are not computed."""

    def add(self, x_td: torch.Tensor) -> None:
        """Ignore the rows."""


def measure_activation_write() -> Table:
    """Measure GB per CPU-second, and speed relative to plain writes with a hash."""
    return measure_shapes(_measure, N_BYTES)


def _measure(folder: Path, stored_td: np.ndarray, dtype: str) -> Table:
    path = folder / "layer.h5"

    def without_moments() -> None:
        with patch.object(writing, "ColumnMoments", NoMoments):
            write_file(path, stored_td, dtype)

    jobs = {
        "plain, no hash": lambda: _write_plain(path, stored_td, with_hash=False),
        PLAIN: lambda: _write_plain(path, stored_td, with_hash=True),
        "ours, no statistics": without_moments,
        "ours": lambda: write_file(path, stored_td, dtype),
        ONE_ROW: lambda: write_file(path, stored_td[:1], dtype),
    }
    costs = measure_alternating(jobs, between=lambda: path.unlink(missing_ok=True))
    rows: Table = {}
    for job in jobs:
        columns: dict[str, float | str] = {"CPU s": costs.cpu(job), "wall s": costs.wall(job)}
        if job != ONE_ROW:
            columns |= costs.rates(job, stored_td.nbytes) | {"speed relative to plain, hash": costs.speed(job, PLAIN)}
        rows[f"{dtype} d={stored_td.shape[1]}: {job}"] = columns
    return rows


def _write_plain(path: Path, stored_td: np.ndarray, *, with_hash: bool) -> None:
    running, position = xxhash.xxh3_128(), 0
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, stored_td.nbytes)
    for block_td in blocks_of(stored_td):
        remaining = block_td.data.cast("B")
        while remaining:
            piece = remaining[:PIECE_BYTES]
            position += os.pwrite(descriptor, piece, position)
            if with_hash:
                running.update(piece)
            remaining = remaining[PIECE_BYTES:]
    os.fsync(descriptor)
    os.close(descriptor)
    temporary.rename(path)
