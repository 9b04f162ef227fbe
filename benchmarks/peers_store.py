"""Measure one library for `activation_peers.py` on given rows.

Runs in `.peers` as `python peers_store.py SYSTEM ROWS FOLDER` and prints the costs as JSON. Imports nothing of this
project, which measures its own store with `measure` too.

Shape suffixes: t rows · d d_model.
"""

import importlib
import json
import os
import resource
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

BATCH_SIZE = 4096
CONTEXT = 128
"""Rows of a sequence, for libraries that store sequences."""
D_MODEL = 512
ROUNDS = 5

Write = Callable[[np.ndarray, Path], None]
Batches = Callable[[Path, np.ndarray], Iterator[object]]
"""Called with the folder and a permutation of the rows: batches of one shuffled epoch."""


def batch_indices(order: np.ndarray) -> Iterator[np.ndarray]:
    """Cut the permutation into whole batches."""
    for start in range(0, len(order) // BATCH_SIZE * BATCH_SIZE, BATCH_SIZE):
        yield order[start : start + BATCH_SIZE]


def read_all(batches: Iterator[object]) -> int:
    """Read all batches of an epoch as tensors; return their number of rows."""
    return sum(len(torch.as_tensor(batch)) for batch in batches)


def measure(write: Write, batches: Batches, rows_td: np.ndarray, folder: Path) -> dict[str, float]:
    """Write the rows and read a shuffled epoch in each round; median CPU seconds of this process and its children."""
    written, read = [], []
    n_rows = n_bytes = 0
    for number in range(ROUNDS):
        round_folder = folder / str(number)
        round_folder.mkdir(parents=True)
        order = np.random.default_rng(number).permutation(len(rows_td))
        began = _cpu_seconds()
        write(rows_td, round_folder)
        _synchronise(round_folder)
        written.append(_cpu_seconds() - began)
        n_bytes = sum(path.stat().st_size for path in round_folder.rglob("*") if path.is_file())
        began = _cpu_seconds()
        n_rows = read_all(batches(round_folder, order))
        read.append(_cpu_seconds() - began)
        shutil.rmtree(round_folder)
    return {
        "write, CPU s": statistics.median(written),
        "read, CPU s": statistics.median(read),
        "rows read": n_rows,
        "bytes on disk": n_bytes,
    }


def _cpu_seconds() -> float:
    mine, of_children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + of_children.ru_utime + of_children.ru_stime


def _synchronise(folder: Path) -> None:
    """Synchronise every file with the disk, as ours does; some libraries leave that to the system."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def main() -> None:
    """Measure one library."""
    system, rows_file, folder = sys.argv[1:]
    torch.set_num_threads(1)
    rows_td = np.load(rows_file, mmap_mode="r")
    store = importlib.import_module(f"peers_{system}")
    print(json.dumps(measure(store.write, store.batches, np.array(rows_td), Path(folder))))


if __name__ == "__main__":
    main()
