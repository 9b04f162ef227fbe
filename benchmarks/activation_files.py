"""Rows to measure with, in the form in which they are stored, and the activation files that hold them."""

from pathlib import Path

import numpy as np
import torch

from emergence_assets.activations.files.layout import ActivationSpec
from emergence_assets.activations.files.writing import ActivationWriter

BLOCK_BYTES = 8 << 20
"""What a benchmark hands on at a time."""


def stored_rows(n_bytes: int, d_model: int, dtype: str) -> np.ndarray:
    """Rows [t, d] of about so many bytes; columns differ in mean and spread, as those of a residual stream do."""
    generator = torch.Generator().manual_seed(0)
    n_rows = n_bytes // (d_model * (4 if dtype == "float32" else 2))
    spread_d = torch.randn(d_model, generator=generator).exp()
    mean_d = torch.randn(d_model, generator=generator)
    stored_td = torch.empty(n_rows, d_model, dtype=getattr(torch, dtype))
    for part_td in stored_td.split(65_536):
        part_td.copy_(torch.randn(part_td.shape, generator=generator) * spread_d + mean_d)
    return (stored_td.view(torch.uint16) if dtype == "bfloat16" else stored_td).numpy()


def blocks_of(stored_td: np.ndarray) -> list[np.ndarray]:
    """The rows in blocks of about `BLOCK_BYTES`."""
    n_rows = max(1, BLOCK_BYTES // stored_td[0].nbytes)
    return [stored_td[start : start + n_rows] for start in range(0, len(stored_td), n_rows)]


def spec_for(stored_td: np.ndarray, dtype: str) -> ActivationSpec:
    """What a file of these rows declares; it has one probe text, since it has to have one."""
    return ActivationSpec(len(stored_td), 1, stored_td.shape[1], dtype)


def write_file(path: Path, stored_td: np.ndarray, dtype: str) -> None:
    """Write the rows as one activation file."""
    with ActivationWriter(path, spec_for(stored_td, dtype), {}) as writer:
        for block_td in blocks_of(stored_td):
            writer.append("resid_post", block_td)
        add_read_outs(writer, stored_td)
        writer.commit()


def add_read_outs(writer: ActivationWriter, stored_td: np.ndarray) -> None:
    """The row of the one probe text."""
    for name in ("read_out", "read_out_mean"):
        writer.append(name, stored_td[:1])
