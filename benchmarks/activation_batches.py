"""Draw shuffled batches, compared with selecting rows of a tensor in memory; memory of the disk regime."""

import itertools
from pathlib import Path

import numpy as np
import torch

from benchmarks.activation_files import measure_shapes, write_file
from benchmarks.rounds import Table, measure_alternating, peak_anonymous_bytes
from emergence_assets.activations.files.batches import Regime, ShuffledRows
from emergence_assets.activations.files.reading import Rows, open_rows
from emergence_assets.activations.files.writing import as_tensor

N_BYTES = 256 << 20
SLAB_BYTES = 32 << 20
BATCH_SIZE = 4096
EPOCHS = 2
SELECT = "torch.index_select, permutation ready"
DISK = "ours, disk"


def measure_activation_batches() -> Table:
    """Measure GB per CPU-second, speed relative to `SELECT`, and peak memory of the disk regime in slabs."""
    return measure_shapes(_measure, N_BYTES)


def _measure(folder: Path, stored_td: np.ndarray, dtype: str) -> Table:
    path = folder / "layer.h5"
    write_file(path, stored_td, dtype)
    rows_td, mapped = as_tensor(stored_td, dtype), open_rows(path, "resid_post")
    order_t = torch.randperm(len(rows_td), generator=torch.Generator().manual_seed(0))
    n_batches = len(rows_td) // BATCH_SIZE * EPOCHS

    def select() -> None:
        for _ in range(EPOCHS):
            for start in range(0, len(rows_td) // BATCH_SIZE * BATCH_SIZE, BATCH_SIZE):
                torch.index_select(rows_td, 0, order_t[start : start + BATCH_SIZE])

    def ours(rows: Rows | torch.Tensor, regime: Regime) -> None:
        slab_bytes = SLAB_BYTES if regime == "disk" else N_BYTES
        shuffled = ShuffledRows(rows, BATCH_SIZE, 0, slab_bytes=slab_bytes, regime=regime)
        for _ in itertools.islice(shuffled.batches(), n_batches):
            pass

    jobs = {
        SELECT: select,
        "ours, memory, a tensor": lambda: ours(rows_td, "memory"),
        "ours, memory, a mapped file": lambda: ours(mapped, "memory"),
        DISK: lambda: ours(mapped, "disk"),
    }
    costs = measure_alternating(jobs)
    n_bytes = n_batches * BATCH_SIZE * stored_td[0].nbytes
    name = f"{dtype} d={stored_td.shape[1]}"
    table: Table = {
        f"{name}: {job}": costs.rates(job, n_bytes) | {"speed relative to index_select": costs.speed(job, SELECT)}
        for job in jobs
    }
    with peak_anonymous_bytes() as peak:
        jobs[DISK]()
    table[f"{name}: {DISK}"]["peak memory, slabs (aim: 2)"] = peak[0] / SLAB_BYTES
    return table
