"""Shuffled batches against picking rows of a tensor in memory by a ready permutation; memory of the disk regime."""

import itertools
import tempfile
from pathlib import Path

import torch

from benchmarks.activation_files import stored_rows, write_file
from benchmarks.rounds import Table, measured_in_turns, peak_anonymous_bytes
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
    """GB per CPU-second and speed for that of `SELECT`; peak memory of the disk regime in slabs."""
    torch.set_num_threads(1)
    table: Table = {}
    for d_model, dtype in ((512, "float16"), (512, "bfloat16"), (96, "float16")):
        with tempfile.TemporaryDirectory() as name:
            table |= _measure(Path(name) / "layer.h5", d_model, dtype)
    return table


def _measure(path: Path, d_model: int, dtype: str) -> Table:
    stored_td = stored_rows(N_BYTES, d_model, dtype)
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
    costs = measured_in_turns(jobs)
    n_bytes = n_batches * BATCH_SIZE * stored_td[0].nbytes
    name = f"{dtype} d={d_model}"
    table: Table = {
        f"{name}: {job}": costs.rates(job, n_bytes) | {"speed for index_select": costs.speed(job, SELECT)}
        for job in jobs
    }
    with peak_anonymous_bytes() as peak:
        jobs[DISK]()
    table[f"{name}: {DISK}"]["peak memory, slabs (aim: 2)"] = peak[0] / SLAB_BYTES
    return table
