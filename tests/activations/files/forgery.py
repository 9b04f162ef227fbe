"""Files changed by someone who knows the format: hashes fit again where possible."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import xxhash

from resources.hdf5.hdf5 import create_contiguous, write_attrs, write_unconverted

N_ROWS, D_MODEL = 60, 16
Lie = Callable[[h5py.File], None]


def forge(path: Path, lie: Lie) -> Path:
    """Change a file in place."""
    with h5py.File(path, "r+", libver="v110") as file:
        lie(file)
    return path


def put(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Write a dataset with its correct hash."""
    if name in file:
        del file[name]
    group, _, own_name = name.rpartition("/")
    kind = {"f2": "float16", "f4": "float32", "u1": "uint8", "i8": "int64"}[values.dtype.str[1:]]
    made = create_contiguous(file.require_group(group) if group else file, own_name, values.shape, kind)
    write_unconverted(made, values)
    write_attrs(made, {"xxh3_128": xxhash.xxh3_128_hexdigest(values.tobytes())})


def attrs(**values: str | float) -> Lie:
    """Write other attributes at the root."""
    return lambda file: write_attrs(file, values)


def without(*names: str) -> Lie:
    """Remove datasets, groups or attributes of the root."""

    def remove(file: h5py.File) -> None:
        for name in names:
            if name in file:
                del file[name]
            else:
                del file.attrs[name]

    return remove
