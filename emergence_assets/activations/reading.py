"""Reading activation files: attributes, memory-mapped rows, statistics, verification. The format is in `store.py`.

Memory maps stay valid when a file is replaced by rename; a file that is truncated in place would kill the process with
SIGBUS, which is why files are never edited.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from emergence_assets.activations.guards import DatasetFacts, GuardedFile, open_guarded
from emergence_assets.activations.hdf5 import AttrValue, to_float32
from emergence_assets.activations.store import FORMAT, FORMAT_VERSION, ROW_DATASETS, STATS, ActivationSpec, content_hash

HASH_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Rows:
    """One row dataset, mapped and not read."""

    array: np.memmap
    """[rows, d_model], read-only: float16, float32, or the bits of bfloat16 as uint16."""
    dtype: str
    """float16, bfloat16 or float32; `torch.from_numpy(array).view(torch.bfloat16)` needs no copy."""

    def __len__(self) -> int:
        return len(self.array)

    def float32(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """A float32 copy of the rows from `start` to before `stop`; exact."""
        return to_float32(self.array[start:stop], self.dtype)


@dataclass(frozen=True)
class ActivationStats:
    """Columns of /stats, each [d_model]."""

    mean: np.ndarray
    var: np.ndarray
    """Divided by n."""
    min: np.ndarray
    max: np.ndarray
    nan_count: np.ndarray
    inf_count: np.ndarray


def read_attrs(path: Path) -> dict[str, AttrValue]:
    """Root attributes of an activation file: format, shapes and provenance.

    Raises:
        EmergenceError: As `open_rows`, as far as attributes are concerned.
    """
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        return guarded.attrs


def open_rows(path: Path, name: str, *, verify: bool = False) -> Rows:
    """Map one row dataset into memory.

    Args:
        path: An activation file.
        name: resid_post, read_out or read_out_mean.
        verify: Also compare the hash of its bytes (reads them all).

    Raises:
        EmergenceError: The file is missing, not HDF5, truncated, incomplete, of another format or version, hostile, or
            its parts do not fit together; with `verify` also when bytes differ from what was written.
        ValueError: `name` is no row dataset.
    """
    if name not in ROW_DATASETS:
        raise ValueError(f"name is one of {', '.join(ROW_DATASETS)}, not {name!r}")
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        facts = _checked(guarded, name)
        if verify:
            _require_equal_hashes(guarded, [facts])
        array = np.memmap(guarded.stream, facts.memory_dtype, "r", facts.offset, facts.shape)
        return Rows(array, facts.dtype)


def read_stats(path: Path) -> ActivationStats:
    """Statistics of the columns of /resid_post, verified against their hashes.

    Raises:
        EmergenceError: As `open_rows` with `verify`.
    """
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        facts = [_checked(guarded, f"stats/{name}") for name in STATS]
        _require_equal_hashes(guarded, facts)
        return ActivationStats(*(guarded.read(one) for one in facts))


def verify_file(path: Path) -> None:
    """Check a whole activation file, every byte of every dataset.

    Raises:
        EmergenceError: As `open_rows` with `verify`, for any dataset; names those whose bytes differ.
    """
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        spec = _spec(guarded)
        facts = [_checked(guarded, name) for name in spec.datasets]
        _require_equal_hashes(guarded, facts)
        content = content_hash(spec, {one.name: one.xxh3_128 for one in facts})
        if content != guarded.attrs.get("content_xxh3_128"):
            raise guarded.refuse("The content hash does not follow from the hashes of the datasets.")


def _spec(guarded: GuardedFile) -> ActivationSpec:
    n_rows, n_probes, d_model, dtype = (guarded.attrs.get(name) for name in ("n_rows", "n_probes", "d_model", "dtype"))
    if not (isinstance(n_rows, int) and isinstance(n_probes, int) and isinstance(d_model, int)):
        raise guarded.refuse("The attributes n_rows, n_probes and d_model are not all integers.")
    return ActivationSpec(n_rows, n_probes, d_model, str(dtype))


def _checked(guarded: GuardedFile, name: str) -> DatasetFacts:
    facts = guarded.facts(name)
    expected = _spec(guarded).datasets[name]
    if (facts.shape, facts.dtype) != expected:
        raise guarded.refuse(
            f"Dataset {name} is {facts.dtype} {facts.shape}; the file's attributes say {expected[1]} {expected[0]}."
        )
    return facts


def _require_equal_hashes(guarded: GuardedFile, facts: list[DatasetFacts]) -> None:
    damaged = [one.name for one in facts if _hash(guarded, one) != one.xxh3_128]
    if damaged:
        raise guarded.refuse(f"Checksum mismatch: the bytes of {', '.join(damaged)} are not those that were written.")


def _hash(guarded: GuardedFile, facts: DatasetFacts) -> str:
    running = xxhash.xxh3_128()
    position, end = facts.offset, facts.offset + facts.n_bytes
    while position < end:
        block = os.pread(guarded.stream.fileno(), min(HASH_BLOCK_BYTES, end - position), position)
        if not block:
            break  # truncated since it was opened: the hash differs
        running.update(block)
        position += len(block)
    return running.hexdigest()
