"""safetensors: one tensor in one file, loaded as a whole. Runs in `.peers`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from peers_store import batch_indices
from safetensors.torch import load_file, save_file


def write(rows_td: np.ndarray, folder: Path) -> None:
    """Write the whole tensor at once."""
    save_file({"rows": torch.from_numpy(rows_td)}, folder / "rows.safetensors")


def batches(folder: Path, order: np.ndarray) -> Iterator[torch.Tensor]:
    """Select rows of the loaded tensor."""
    rows_td = load_file(folder / "rows.safetensors")["rows"]
    for chosen in batch_indices(order):
        yield torch.index_select(rows_td, 0, torch.from_numpy(chosen))
