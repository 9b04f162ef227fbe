"""Read activation files: attributes, memory-mapped rows, statistics, verification. The format is in `layout.py`.

Memory maps stay valid when a file is replaced by rename. Truncating a mapped file in place would kill the process with
SIGBUS, therefore files are never edited.
"""

import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import xxhash

from emergence_assets.activations.files.layout import (
    FORMAT,
    FORMAT_VERSION,
    ROW_DATASETS,
    STATS,
    ActivationSpec,
    StorageState,
    content_hash,
)
from resources.hdf5.guarded import DatasetFacts, GuardedFile, open_guarded
from resources.hdf5.hdf5 import AttrValue, to_float32

if TYPE_CHECKING:
    from torch import Tensor


HASH_BLOCK_BYTES = 1 << 20
"""Bytes per block, which stays in cache between reading and hashing."""


@dataclass(frozen=True)
class Rows:
    """One row dataset, memory-mapped or in memory."""

    array: np.ndarray
    """[rows, d_model] float16, float32, or the bits of bfloat16 as uint16. Changing it does not change the file."""
    dtype: str
    """float16, bfloat16 or float32."""

    def __len__(self) -> int:
        return len(self.array)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.array.shape[1] * self.array.itemsize

    def float32(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return an exact float32 copy of the rows from `start` to before `stop`."""
        return to_float32(self.array[start:stop], self.dtype)

    def tensor(self) -> "Tensor":
        """Return the rows as a tensor [rows, d_model] in the dtype of the file, without a copy."""
        from emergence_assets.activations.files.writing import as_tensor

        return as_tensor(np.asarray(self.array), self.dtype)

    @property
    def is_mapped(self) -> bool:
        """Whether the rows are memory-mapped from their file."""
        return getattr(self.array, "_mmap", None) is not None

    def expect(self, advice: int, start: int = 0, stop: int | None = None) -> None:
        """Advise the system how mapped rows will be read, such as by `mmap.MADV_WILLNEED`."""
        mapped = getattr(self.array, "_mmap", None)
        if mapped is None or not hasattr(mapped, "madvise"):
            return
        first_byte = self.array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
        begin = (first_byte + start * self.row_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        end = first_byte + (len(self) if stop is None else stop) * self.row_bytes
        mapped.madvise(advice, begin, end - begin)


def read_attrs(path: Path) -> dict[str, AttrValue]:
    """Read the root attributes of an activation file: format, shapes and provenance.

    Raises:
        EmergenceError: As `open_rows`, as far as attributes are concerned.
    """
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        return guarded.attrs


def read_spec(path: Path) -> ActivationSpec:
    """Read the shapes, data type and storage state of an activation file.

    Raises:
        EmergenceError: As `open_rows`, as far as attributes are concerned.
    """
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        return spec_of(guarded)


def open_rows(path: Path, name: str, *, verify: bool = False) -> Rows:
    """Map one row dataset into memory.

    Args:
        path: An activation file.
        name: resid_post, read_out or read_out_mean.
        verify: Also verify the hash of all its bytes.

    Raises:
        EmergenceError: The file is missing, not HDF5, truncated, incomplete, of another format or version, hostile, or
            inconsistent; its rows are evicted; with `verify` also if bytes differ from those written.
        ValueError: `name` is not a row dataset.
    """
    if name not in ROW_DATASETS:
        raise ValueError(f"name is one of {', '.join(ROW_DATASETS)}, not {name!r}")
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        state = spec_of(guarded).storage_state
        if name == "resid_post" and state == "evicted":
            raise guarded.refuse(
                "The rows of this file are evicted.", remedy="Bring them back with `emergence storage restore`."
            )
        if name == "resid_post" and state == "sampled":
            raise guarded.refuse(
                "The rows of this file were streamed into the training and never stored.",
                remedy="Set activations.retention to keep, delete the file and type `emergence run`.",
            )
        facts = checked(guarded, name)
        if verify:
            require_equal_hashes(guarded, [facts])
        # Private pages: torch requires writable memory, and a write never reaches the file.
        array = np.memmap(guarded.stream, facts.memory_dtype, "c", facts.offset, facts.shape)
        return Rows(array, facts.dtype)


def first_rows(path: Path, n_rows: int) -> list[np.ndarray]:
    """Map the first training rows and the first read-outs, which are in the file in both storage states.

    Raises:
        EmergenceError: As `open_rows`.
    """
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        parts = [checked(guarded, name) for name in ("preview", "read_out")]
        return [np.memmap(guarded.stream, part.memory_dtype, "r", part.offset, part.shape)[:n_rows] for part in parts]


def read_stats(path: Path) -> dict[str, np.ndarray]:
    """Read the statistics of the columns, verified by their hashes: name in `STATS` → values [d_model].

    Raises:
        EmergenceError: As `open_rows` with `verify`.
    """
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        facts = {name: checked(guarded, f"stats/{name}") for name in STATS}
        require_equal_hashes(guarded, facts.values())
        return {name: guarded.read(dataset) for name, dataset in facts.items()}


def verify_file(path: Path) -> None:
    """Check a whole activation file, every byte of every dataset.

    Raises:
        EmergenceError: As `open_rows` with `verify`, for any dataset; names the datasets whose bytes differ.
    """
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        spec = spec_of(guarded)
        facts = {name: checked(guarded, name) for name in spec.datasets}
        if "resid_post" in guarded.names() - facts.keys():
            raise guarded.refuse(f"The rows are {spec.storage_state}, but the file holds resid_post.")
        require_equal_hashes(guarded, facts.values())
        hashes = stored_hashes(guarded, facts)
        if "resid_post" in facts and facts["resid_post"].xxh3_128 != hashes["resid_post"]:
            raise guarded.refuse("The hash of resid_post differs from the attribute resid_post_xxh3_128.")


def spec_of(guarded: GuardedFile) -> ActivationSpec:
    """Return the shapes, data type and storage state in the attributes of an open file.

    Raises:
        EmergenceError: Attributes are missing, of another type or inconsistent, or the rows are archived.
    """
    numbers = [guarded.attrs.get(name) for name in ("n_rows", "n_probes", "d_model")]
    if not all(isinstance(number, int) for number in numbers):
        raise guarded.refuse("The attributes n_rows, n_probes and d_model are not all integers.")
    n_rows, n_probes, d_model = cast("list[int]", numbers)
    # `ActivationSpec` refuses every other value.
    state = cast("StorageState", str(guarded.attrs.get("residency")))
    if str(state) == "archived":
        raise guarded.refuse(
            "The rows of this file are archived: an earlier version of this program compressed them, and this version "
            "cannot read them.",
            remedy="Delete the file and type `emergence run`: its cell is made again.",
        )
    return ActivationSpec(n_rows, n_probes, d_model, str(guarded.attrs.get("dtype")), state)


def checked(guarded: GuardedFile, name: str) -> DatasetFacts:
    """Return the facts of a dataset, after comparing its shape and type with the attributes of the file.

    Raises:
        EmergenceError: Shape or type differ, or as `GuardedFile.facts`.
    """
    facts = guarded.facts(name)
    expected = spec_of(guarded).datasets[name]
    if (facts.shape, facts.dtype) != expected:
        raise guarded.refuse(
            f"Dataset {name} is {facts.dtype} {facts.shape}; the file's attributes require {expected[1]} {expected[0]}."
        )
    return facts


def stored_hashes(guarded: GuardedFile, facts: Mapping[str, DatasetFacts]) -> dict[str, str]:
    """Return the hashes of these datasets, and of resid_post even if its rows are evicted.

    Raises:
        EmergenceError: The hashes of the row datasets do not match the content hash of the file.
    """
    hashes = {name: dataset.xxh3_128 for name, dataset in facts.items()}
    hashes["resid_post"] = str(guarded.attrs.get("resid_post_xxh3_128"))
    if content_hash(spec_of(guarded), hashes) != guarded.attrs.get("content_xxh3_128"):
        raise guarded.refuse("The content hash does not match the hashes of the datasets.")
    return hashes


def require_equal_hashes(guarded: GuardedFile, facts: Iterable[DatasetFacts]) -> None:
    """Compare the bytes of datasets with their stored hashes.

    Raises:
        EmergenceError: Bytes differ; names the datasets.
    """
    damaged = [dataset.name for dataset in facts if _hash(guarded, dataset) != dataset.xxh3_128]
    if damaged:
        raise guarded.refuse(f"Checksum mismatch: the bytes of {', '.join(damaged)} are not those that were written.")


def _hash(guarded: GuardedFile, facts: DatasetFacts) -> str:
    running = xxhash.xxh3_128()
    block = memoryview(bytearray(min(HASH_BLOCK_BYTES, facts.n_bytes)))
    position, end = facts.offset, facts.offset + facts.n_bytes
    while position < end:
        n_bytes = os.preadv(guarded.stream.fileno(), [block[: end - position]], position)
        if not n_bytes:
            break  # truncated since it was opened: the hash differs
        running.update(block[:n_bytes])
        position += n_bytes
    return running.hexdigest()
