"""Writer of safe HDF5 files: exact types, contiguous datasets, attributes under checksum, publication by rename.

`guarded.py` reads the files; `layout.py` and `tokens.py` define their contents.
"""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs

from resources.errors import EmergenceError
from resources.files.temporaries import remove_abandoned, temporaries_of, temporary_beside

LIBVER = ("v110", "v110")
"""Metadata with checksums: with older versions 3 % of flipped metadata bits gave wrong results without an error."""
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
AttrValue = str | int | float
AttrHolder = h5py.Group | h5py.Dataset | h5py.Datatype
"""Types of h5py that have attributes."""


def bfloat16_type() -> h5t.TypeFloatID:
    """Make the HDF5 float type of a little-endian bfloat16, with the layout of the predefined type of HDF5 2.0.

    An opaque type would be unreadable in viewers, and unsigned integers would show wrong numbers.
    """
    file_type = h5t.IEEE_F32LE.copy()
    file_type.set_fields(15, 7, 8, 0, 7)  # sign bit, exponent start and width, mantissa start and width
    file_type.set_size(2)
    file_type.set_ebias(127)
    return file_type


NUMERIC_TYPES: dict[str, tuple[h5t.TypeID, np.dtype]] = {
    "float16": (h5t.IEEE_F16LE, np.dtype("<f2")),
    # numpy has no bfloat16: its bits are unsigned integers in memory, and HDF5 never converts them (140 times slower).
    "bfloat16": (bfloat16_type(), np.dtype("<u2")),
    "float32": (h5t.IEEE_F32LE, np.dtype("<f4")),
    "uint8": (h5t.STD_U8LE, np.dtype("u1")),
    "int32": (h5t.STD_I32LE, np.dtype("<i4")),
    "int64": (h5t.STD_I64LE, np.dtype("<i8")),
}
"""Name → type in the file, type in memory with the same bits."""


def to_storage(block: np.ndarray, dtype: str) -> np.ndarray:
    """Convert `block` to a C-ordered array with the bits of a file of `dtype`.

    Args:
        block: floats of any width; for bfloat16 also its bits as uint16.
        dtype: float16, bfloat16 or float32. Rounding is to nearest, ties to even; overflow gives infinity.

    Raises:
        TypeError: `block` is neither of floats nor of bits of bfloat16.
    """
    if dtype == "bfloat16" and block.dtype == np.uint16:
        return np.ascontiguousarray(block, dtype="<u2")
    if block.dtype.kind != "f":
        raise TypeError(f"activations are floats, not {block.dtype}")
    with np.errstate(over="ignore"):
        if dtype != "bfloat16":
            return np.ascontiguousarray(block, dtype=NUMERIC_TYPES[dtype][1])
        bits = np.ascontiguousarray(block, dtype="<f4").view("<u4")
    rounded = ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype("<u2")
    is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
    # Rounding would carry a NaN over into the sign or into infinity: keep its upper half and set the quiet bit.
    return np.where(is_nan, (bits >> 16).astype("<u2") | np.uint16(0x40), rounded)


def to_float32(stored: np.ndarray, dtype: str) -> np.ndarray:
    """Copy an array in storage form to float32; exact for all three types."""
    if dtype == "bfloat16":
        return (stored.astype("<u4") << 16).view("<f4")
    return np.array(stored, dtype="<f4")


def create_contiguous(parent: h5py.Group, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
    """Create a contiguous dataset with reserved space and undefined content.

    `dtype` is a key of `NUMERIC_TYPES` or "utf8:N" for strings of N bytes.
    """
    if dtype.startswith("utf8:"):
        file_type = h5t.py_create(h5py.string_dtype("utf-8", int(dtype.removeprefix("utf8:"))), logical=True)
    else:
        file_type = NUMERIC_TYPES[dtype][0]
    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_layout(h5d.CONTIGUOUS)
    creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)  # equal content gives equal bytes
    return h5py.Dataset(h5d.create(parent.id, name.encode(), file_type, h5s.create_simple(shape), creation))


def write_unconverted(dataset: h5py.Dataset, values: np.ndarray) -> None:
    """Fill a dataset with the bytes of an array of its shape and memory type."""
    dataset.id.write(h5s.ALL, h5s.ALL, values, dataset.id.get_type())


def write_attrs(target: AttrHolder, attrs: Mapping[str, AttrValue]) -> None:
    """Write or overwrite scalar attributes of fixed size.

    Strings of variable length would live in HDF5's global heap, the one place that no checksum covers.

    Raises:
        TypeError: a value is not str, int or float.
        ValueError: a string has a NUL character.
    """
    for name, value in attrs.items():
        if isinstance(value, str):
            if "\0" in value:
                raise ValueError(f"attribute {name} holds a NUL character")
            encoded = value.encode()
            file_dtype = h5py.string_dtype("utf-8", max(1, len(encoded)))
            data = np.array(encoded, dtype=file_dtype)
        elif isinstance(value, (int, np.integer)):
            file_dtype, data = np.dtype("<i8"), np.int64(int(value))
        elif isinstance(value, (float, np.floating)):
            file_dtype, data = np.dtype("<f8"), np.float64(value)
        else:
            raise TypeError(f"attribute {name} is {type(value).__name__}; str, int and float can be stored")
        if name in target.attrs and target.attrs.get_id(name).dtype == file_dtype:
            target.attrs.modify(name, data)  # in place: the file does not grow after its space was reserved
        else:
            target.attrs.create(name, data, dtype=file_dtype)


def temporary_path(path: Path) -> Path:
    """Return a temporary path for `path`; delete temporary files of dead writers beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in temporaries_of(path):
        remove_abandoned(leftover)
    return temporary_beside(path)


def require_space(folder: Path, n_bytes: int) -> None:
    """Refuse to start a file that does not fit on the disk.

    Raises:
        EmergenceError: fewer than `n_bytes` are free.
    """
    if shutil.disk_usage(folder).free < n_bytes:
        raise disk_full(folder, n_bytes)


def disk_full(folder: Path, n_bytes: int) -> EmergenceError:
    """Make the error for a disk, quota or size limit without room for `n_bytes`."""
    free = shutil.disk_usage(folder).free
    return EmergenceError(
        f"No space for a file of {n_bytes} bytes; {free} bytes are free.",
        where=folder,
        remedy=f"Free {max(n_bytes - free, 0) or n_bytes} bytes there (or raise the quota), then run again.",
    )


@contextmanager
def full_disk_explained(folder: Path, n_bytes: int) -> Iterator[None]:
    """Turn a "no space" error of the operating system into an error with the needed bytes and the folder."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # HDF5 states the reason of a failed write only in the text, and raises RuntimeError when it closes the file.
        reasons = (os.strerror(code) for code in NO_SPACE)
        if getattr(error, "errno", None) in NO_SPACE or any(reason in str(error) for reason in reasons):
            raise disk_full(folder, n_bytes) from error
        raise
