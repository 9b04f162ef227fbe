"""Read an activation file, compared with a map of a raw file: in order, verified, text by text."""

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import xxhash

from benchmarks.activation_files import BLOCK_BYTES, measure_shapes, write_file
from benchmarks.rounds import Table, measure_alternating
from emergence_assets.activations.files.reading import open_rows

N_BYTES = 256 << 20
D_MODEL = 512
N_TEXTS = 2000
"""Number of texts read, drawn at random."""
MAP = "np.memmap of a raw file"


def measure_activation_read() -> Table:
    """Measure GB per CPU-second, and speed relative to the plain way of reading the same rows."""
    return measure_shapes(_measure, N_BYTES, ((D_MODEL, "float16"), (D_MODEL, "bfloat16")))


def _measure(folder: Path, stored_td: np.ndarray, dtype: str) -> Table:
    path, raw = folder / "layer.h5", folder / "rows.raw"
    write_file(path, stored_td, dtype)
    stored_td.tofile(raw)
    block_rows = BLOCK_BYTES // stored_td[0].nbytes
    buffer_td = np.empty((block_rows, D_MODEL), stored_td.dtype)
    offsets = _text_offsets(len(stored_td))
    texts = np.random.default_rng(1).integers(0, len(offsets) - 1, N_TEXTS).tolist()
    text_bytes = sum(int(offsets[text + 1] - offsets[text]) for text in texts) * stored_td[0].nbytes

    def map_raw() -> np.ndarray:
        return np.memmap(raw, stored_td.dtype, "r", 0, stored_td.shape)

    def raw_blocks() -> Iterable[np.ndarray]:
        mapped = map_raw()
        return (mapped[start : start + block_rows] for start in range(0, len(mapped), block_rows))

    def hash_raw() -> None:
        running = xxhash.xxh3_128()
        with raw.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                running.update(block)

    def raw_texts() -> None:
        mapped = map_raw()
        for text in texts:
            np.copyto(buffer_td[: offsets[text + 1] - offsets[text]], mapped[offsets[text] : offsets[text + 1]])

    def our_blocks() -> Iterator[np.ndarray]:
        rows = open_rows(path, "resid_post")
        rows.expect(mmap.MADV_SEQUENTIAL)
        return (rows.array[start : start + block_rows] for start in range(0, len(rows), block_rows))

    def our_texts() -> None:
        rows = open_rows(path, "resid_post")
        for text in texts:
            np.copyto(buffer_td[: offsets[text + 1] - offsets[text]], rows.array[offsets[text] : offsets[text + 1]])

    groups = {
        "in order": {
            MAP: lambda: _consume(raw_blocks(), buffer_td),
            "ours": lambda: _consume(our_blocks(), buffer_td),
        },
        "hash": {"read and hash a raw file": hash_raw, "ours": lambda: open_rows(path, "resid_post", verify=True)},
        f"{N_TEXTS} texts": {MAP: raw_texts, "ours": our_texts},
    }
    table: Table = {}
    for group, jobs in groups.items():
        costs = measure_alternating(jobs)
        plain, n_bytes = next(iter(jobs)), text_bytes if "texts" in group else stored_td.nbytes
        for job in jobs:
            columns = costs.rates(job, n_bytes) | {"speed relative to the plain way": costs.speed(job, plain)}
            table[f"{dtype} d={D_MODEL}, {group}: {job}"] = columns
    return table


def _consume(blocks: Iterable[np.ndarray], buffer_td: np.ndarray) -> None:
    for block_td in blocks:
        np.copyto(buffer_td[: len(block_td)], block_td)


def _text_offsets(n_rows: int) -> np.ndarray:
    """Draw row offsets of texts with 20 to 250 rows."""
    lengths = np.random.default_rng(0).integers(20, 251, n_rows // 20)
    ends = np.cumsum(lengths)
    return np.concatenate([[0], ends[ends <= n_rows]])
