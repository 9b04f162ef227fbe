"""Rows as they are stored, activation files that hold them, and the shapes to measure."""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from benchmarks.rounds import Table
from emergence_assets.activations.files.layout import ActivationSpec
from emergence_assets.activations.files.writing import ActivationWriter

BLOCK_BYTES = 8 << 20
"""Size of the blocks that a benchmark reads and writes."""
SHAPES = ((512, "float16"), (512, "bfloat16"), (96, "float16"))
"""d_model and data type."""


def measure_shapes(
    measure: Callable[[Path, np.ndarray, str], Table], n_bytes: int, shapes: Iterable[tuple[int, str]] = SHAPES
) -> Table:
    """Measure with rows of every shape, on one thread of torch.

    Args:
        measure: called with an empty folder, stored rows and their data type.
        n_bytes: size of the rows.
        shapes: d_model and data type.
    """
    torch.set_num_threads(1)
    table: Table = {}
    for d_model, dtype in shapes:
        with tempfile.TemporaryDirectory() as folder:
            table |= measure(Path(folder), stored_rows(n_bytes, d_model, dtype), dtype)
    return table


def stored_rows(n_bytes: int, d_model: int, dtype: str) -> np.ndarray:
    """Make rows [t, d] of about `n_bytes`; columns differ in mean and spread, as in a residual stream."""
    generator = torch.Generator().manual_seed(0)
    n_rows = n_bytes // (d_model * (4 if dtype == "float32" else 2))
    spread_d = torch.randn(d_model, generator=generator).exp()
    mean_d = torch.randn(d_model, generator=generator)
    stored_td = torch.empty(n_rows, d_model, dtype=getattr(torch, dtype))
    for part_td in stored_td.split(65_536):
        part_td.copy_(torch.randn(part_td.shape, generator=generator) * spread_d + mean_d)
    return (stored_td.view(torch.uint16) if dtype == "bfloat16" else stored_td).numpy()


def blocks_of(stored_td: np.ndarray) -> list[np.ndarray]:
    """Cut the rows into blocks of about `BLOCK_BYTES`."""
    n_rows = max(1, BLOCK_BYTES // stored_td[0].nbytes)
    return [stored_td[start : start + n_rows] for start in range(0, len(stored_td), n_rows)]


def write_file(path: Path, stored_td: np.ndarray, dtype: str) -> None:
    """Write the rows as one activation file with one probe text."""
    spec = ActivationSpec(len(stored_td), 1, stored_td.shape[1], dtype)
    with ActivationWriter(path, spec, {}) as writer:
        for block_td in blocks_of(stored_td):
            writer.append("resid_post", block_td)
        for name in ("read_out", "read_out_mean"):
            writer.append(name, stored_td[:1])
        writer.commit()
