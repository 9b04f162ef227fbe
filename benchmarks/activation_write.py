"""Writing an activation file against plain writes of the same blocks with a hash; statistics; writing beside work."""

import os
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import xxhash

from benchmarks.activation_files import add_read_outs, blocks_of, spec_for, stored_rows, write_file
from benchmarks.rounds import Table, measured_in_turns
from emergence_assets.activations.files import writing
from emergence_assets.activations.files.background import BackgroundWriter
from emergence_assets.activations.files.moments import ColumnMoments

N_BYTES = 192 << 20
PIECE_BYTES = 1 << 20
"""Plain writes go in pieces that stay in cache from the write to the hash, as ours do."""
SHAPES = ((512, "float16"), (512, "bfloat16"), (96, "float16"))
PLAIN, WITHOUT = "plain, hash", "ours, no statistics"


class NoMoments(ColumnMoments):
    """Statistics that are not taken."""

    def add(self, x_td: torch.Tensor) -> None:
        """Nothing."""


def measure_activation_write() -> Table:
    """GB per CPU-second and speed for that of plain writes with a hash."""
    torch.set_num_threads(1)
    table: Table = {}
    for d_model, dtype in SHAPES:
        stored_td = stored_rows(N_BYTES, d_model, dtype)
        with tempfile.TemporaryDirectory() as name:
            table |= _measure(Path(name), stored_td, dtype)
    return table


def _measure(folder: Path, stored_td: np.ndarray, dtype: str) -> Table:
    path = folder / "layer.h5"

    def without_moments() -> None:
        with patch.object(writing, "ColumnMoments", NoMoments):
            write_file(path, stored_td, dtype)

    jobs = {
        "plain, no hash": lambda: _write_plain(path, stored_td, with_hash=False),
        PLAIN: lambda: _write_plain(path, stored_td, with_hash=True),
        WITHOUT: without_moments,
        "ours": lambda: write_file(path, stored_td, dtype),
        "ours, a file of one row": lambda: write_file(path, stored_td[:1], dtype),
    }
    if (stored_td.shape[1], dtype) == SHAPES[0]:
        jobs["work alone"] = lambda: _work_over(stored_td)
        jobs["work, then ours"] = lambda: _write_after_work(path, stored_td, dtype)
        jobs["work beside ours"] = lambda: _write_beside_work(path, stored_td, dtype)
    costs = measured_in_turns(jobs, between=lambda: path.unlink(missing_ok=True))
    rows: Table = {}
    for job in jobs:
        columns: dict[str, float | str] = {"CPU s": costs.cpu(job), "wall s": costs.wall(job)}
        if "work" not in job and "one row" not in job:
            columns |= costs.rates(job, stored_td.nbytes) | {"speed for plain with hash": costs.speed(job, PLAIN)}
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


def _work_over(stored_td: np.ndarray) -> None:
    for _ in blocks_of(stored_td):
        _work()


def _work() -> None:
    """Stands for a forward pass: takes about as long as writing a block."""
    square = torch.ones(640, 640)
    for _ in range(4):
        torch.mm(square, square)


def _write_after_work(path: Path, stored_td: np.ndarray, dtype: str) -> None:
    with writing.ActivationWriter(path, spec_for(stored_td, dtype), {}) as writer:
        for block_td in blocks_of(stored_td):
            _work()
            writer.append("resid_post", block_td)
        add_read_outs(writer, stored_td)
        writer.commit()


def _write_beside_work(path: Path, stored_td: np.ndarray, dtype: str) -> None:
    with writing.ActivationWriter(path, spec_for(stored_td, dtype), {}) as writer:
        with BackgroundWriter({0: writer}) as background:
            for block_td in blocks_of(stored_td):
                _work()
                background.append(0, "resid_post", block_td)
        add_read_outs(writer, stored_td)
        writer.commit()
