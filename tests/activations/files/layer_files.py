"""Whole activation files with random rows, in both storage states, and their content as a reader sees it."""

from pathlib import Path

import numpy as np

from emergence_assets.activations.files.layout import ROW_DATASETS, StorageState
from emergence_assets.activations.files.reading import (
    Rows,
    open_rows,
    read_attrs,
    read_spec,
    read_stats,
    verify_file,
)
from emergence_assets.activations.files.storage_state import evict_rows
from resources.hdf5.hdf5 import NUMERIC_TYPES, AttrValue, to_storage
from tests.activations.files.sample_file import SAMPLE_ATTRS, write


def random_rows(n_rows: int, d_model: int, seed: int = 0, n_probes: int = 5) -> dict[str, np.ndarray]:
    """Draw values of all magnitudes that the three data types share."""
    random = np.random.default_rng(seed)
    shapes = {name: (n_rows if name == "resid_post" else n_probes, d_model) for name in ROW_DATASETS}
    return {name: random.normal(0, 10, shape).astype(np.float32) for name, shape in shapes.items()}


def write_layer(
    path: Path,
    state: StorageState = "stored",
    dtype: str = "float16",
    n_rows: int = 60,
    d_model: int = 16,
    seed: int = 0,
    attrs: dict[str, AttrValue] = SAMPLE_ATTRS,
) -> Path:
    """Write a complete file; rows are evicted afterwards, as in the pipeline."""
    write(path, random_rows(n_rows, d_model, seed), dtype, attrs)
    if state == "evicted":
        evict_rows(path)
    return path


def stored_rows(dtype: str = "float16", n_rows: int = 60, d_model: int = 16, seed: int = 0) -> Rows:
    """Return the rows of `write_layer`, as another capture would give them."""
    array = to_storage(random_rows(n_rows, d_model, seed)["resid_post"], dtype)
    assert array.dtype == NUMERIC_TYPES[dtype][1]
    return Rows(array, dtype)


def everything(path: Path) -> dict[str, object]:
    """Read everything, after verification."""
    verify_file(path)
    state = read_spec(path).storage_state
    found: dict[str, object] = {"attrs": sorted(read_attrs(path).items())}
    found |= {name: column.tobytes() for name, column in read_stats(path).items()}
    for name in ROW_DATASETS:
        if name != "resid_post" or state == "stored":
            found[name] = open_rows(path, name, verify=True).array.tobytes()
    return found


def temporaries(folder: Path) -> list[Path]:
    """List files that a process is writing, or left behind."""
    return sorted(folder.rglob(".*.tmp"))
