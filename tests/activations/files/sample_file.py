"""The committed sample of format 1, the function that made it, and readers without our code."""

from pathlib import Path

import h5py
import numpy as np

from emergence_assets.activations.files.layout import ROW_DATASETS, ActivationSpec
from emergence_assets.activations.files.reading import open_rows, read_attrs, read_stats, verify_file
from emergence_assets.activations.files.writing import ActivationWriter

SAMPLE = Path(__file__).with_name("format_v1.h5")
DTYPES = ("float16", "bfloat16", "float32")
SAMPLE_ATTRS = {"model": "planted", "step": 512, "layer": 3, "learning_rate": 6e-3, "note": "Größe"}


def sample_rows() -> dict[str, np.ndarray]:
    """Make values that bfloat16 represents exactly."""
    resid_td = np.arange(-12, 12, dtype=np.float32).reshape(6, 4) / 8
    return {"resid_post": resid_td, "read_out": resid_td[::2] * 4, "read_out_mean": resid_td[1::2] * 16}


def write(path: Path, rows: dict[str, np.ndarray], dtype: str, attrs: dict[str, str | int | float]) -> Path:
    """Write a complete file."""
    spec = ActivationSpec(len(rows["resid_post"]), len(rows["read_out"]), rows["resid_post"].shape[1], dtype)
    with ActivationWriter(path, spec, attrs) as writer:
        for name, block in rows.items():
            writer.append(name, block)
        writer.commit()
    return path


def write_sample(path: Path) -> Path:
    """Write format_v1.h5: `python tests/activations/sample_file.py`."""
    return write(path, sample_rows(), "bfloat16", SAMPLE_ATTRS)


def dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Read a dataset with h5py alone."""
    found = file[name]
    assert isinstance(found, h5py.Dataset)
    return found


def content(path: Path) -> tuple[object, ...]:
    """Read everything, after verification."""
    verify_file(path)
    rows = tuple(open_rows(path, name, verify=True).array.tobytes() for name in ROW_DATASETS)
    stats = tuple(column.tobytes() for column in read_stats(path).values())
    return (tuple(sorted(read_attrs(path).items())), *rows, *stats)


if __name__ == "__main__":
    write_sample(SAMPLE)
