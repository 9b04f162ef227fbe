"""Write activation files: reserve space, write with pwrite, hash and count rows while they are in cache, rename.

The content of a file is in `layout.py`; `background.py` writes during the forward pass.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
import torch
import xxhash
from torch import Tensor

from emergence_assets.activations.files.layout import (
    FORMAT,
    FORMAT_VERSION,
    NO_HASH,
    RESERVED_ATTRS,
    ROW_DATASETS,
    ROW_DIMENSIONS,
    STATISTICS_ROWS,
    ActivationSpec,
    content_hash,
)
from emergence_assets.activations.files.moments import ColumnMoments
from resources.files.atomic import publish
from resources.files.mounts import is_on_network
from resources.files.reserved_space import reserve_space
from resources.files.temporaries import keep_superseded
from resources.hdf5.hdf5 import (
    LIBVER,
    AttrValue,
    create_contiguous,
    full_disk_explained,
    require_space,
    temporary_path,
    to_float32,
    to_storage,
    write_attrs,
)

HOT_BYTES = 1 << 20
"""Bytes of rows that are hashed and counted together, so that they stay in cache in between."""


class FileInPreparation:
    """An activation file under its temporary name, with all its space reserved; `publish` makes it visible.

    Args:
        path: Final name; an existing file is replaced by `publish`.
        spec: Shapes, data type and storage state.
        attrs: Provenance for the root attributes; str, int or float.

    Raises:
        EmergenceError: The file exceeds the free space, the quota or the file size limit.
        ValueError: `attrs` uses a reserved name.
    """

    def __init__(self, path: Path, spec: ActivationSpec, attrs: Mapping[str, AttrValue]):
        if taken := RESERVED_ATTRS & attrs.keys():
            raise ValueError(f"attributes {sorted(taken)} belong to the format")
        self.path, self.spec = Path(path), spec
        self._temporary = temporary_path(self.path)
        self._descriptor = -1
        require_space(self.path.parent, spec.n_bytes)
        try:
            with full_disk_explained(self.path.parent, spec.n_bytes):
                self._offsets = self._create(attrs)
                self._descriptor = os.open(self._temporary, os.O_WRONLY)
                reserve_space(self._descriptor, os.fstat(self._descriptor).st_size)
        except BaseException:
            self.abort()
            raise

    def _create(self, attrs: Mapping[str, AttrValue]) -> dict[str, int]:
        # All attributes are created at their final size: publishing overwrites in place and needs no space.
        root: dict[str, AttrValue] = {"format": FORMAT, "format_version": FORMAT_VERSION, "complete": 0}
        root |= {**self.spec.attrs, "content_xxh3_128": NO_HASH, "resid_post_xxh3_128": NO_HASH}
        root |= dict(sorted(attrs.items()))  # in the order of reading: a rewritten file has equal bytes
        threshold, interval = self.spec.alignment
        # No other process writes under this name, and a network disk may not support locks.
        with h5py.File(
            self._temporary,
            "x",
            libver=LIBVER,
            locking=False,
            alignment_threshold=threshold,
            alignment_interval=interval,
        ) as file:
            write_attrs(file, root)
            offsets = {}
            for name, (shape, dtype) in self.spec.datasets.items():
                group, _, own_name = name.rpartition("/")
                dataset = create_contiguous(file.require_group(group) if group else file, own_name, shape, dtype)
                write_attrs(dataset, {"xxh3_128": NO_HASH})
                if name in ROW_DATASETS:
                    write_attrs(dataset, {"torch_dtype": dtype, "units": "1", "long_name": ROW_DATASETS[name]})
                    write_attrs(dataset, {"dim_0": ROW_DIMENSIONS[name], "dim_1": "d_model"})
                offsets[name] = dataset.id.get_offset()
            return offsets

    def write(self, name: str, start_byte: int, values: np.ndarray) -> None:
        """Write bytes into a dataset.

        Raises:
            EmergenceError: The disk is full.
        """
        remaining, offset = values.data.cast("B"), self._offsets[name] + start_byte
        with full_disk_explained(self.path.parent, self.spec.n_bytes):
            while remaining:  # one call writes 2 GiB at most
                n_bytes = os.pwrite(self._descriptor, remaining, offset)
                remaining, offset = remaining[n_bytes:], offset + n_bytes

    def publish(self, hashes: Mapping[str, str]) -> None:
        """Sync the file to disk and rename it to its final name.

        Args:
            hashes: XXH3-128 of every dataset of the file, and of resid_post even if its rows are evicted.
        """
        with full_disk_explained(self.path.parent, self.spec.n_bytes):
            os.fsync(self._descriptor)
            with h5py.File(self._temporary, "r+", libver=LIBVER, locking=False) as file:
                for name in self.spec.datasets:
                    write_attrs(file[name], {"xxh3_128": hashes[name]})
                write_attrs(file, {"content_xxh3_128": content_hash(self.spec, hashes)})
                write_attrs(file, {"resid_post_xxh3_128": hashes["resid_post"], "complete": 1})
            if is_on_network(self.path.parent):
                keep_superseded(self.path)
            publish(self._temporary, self.path)
        self.abort()

    def abort(self) -> None:
        """Close, and remove an unpublished file. May be called more than once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class ActivationWriter(FileInPreparation):
    """Writes one activation file block by block, and makes it visible atomically.

    The space is reserved when the writer is made, so that a full disk is found before the first forward pass. Without
    `commit`, the end of the `with` block removes the file. Rows of an evicted file are hashed and counted, not kept.

    Args:
        path: Final name; an existing file is replaced by `commit`.
        spec: Shapes and dtype; stored or evicted.
        attrs: Provenance for the root attributes; str, int or float.

    Raises:
        EmergenceError: The file exceeds the free space, the quota or the file size limit.
        ValueError: `attrs` uses a reserved name.
    """

    def __init__(self, path: Path, spec: ActivationSpec, attrs: Mapping[str, AttrValue]):
        super().__init__(path, spec, attrs)
        self._moments = ColumnMoments(spec.d_model)
        self._hashes = {name: xxhash.xxh3_128() for name in ROW_DATASETS}
        self._written = dict.fromkeys(ROW_DATASETS, 0)
        self._preview_td = np.empty(spec.datasets["preview"][0], "<f4")

    def append(self, name: str, block_td: np.ndarray) -> None:
        """Write the next rows of a row dataset.

        Args:
            name: resid_post, read_out or read_out_mean.
            block_td: Floats [any number, d_model], or the bits of bfloat16 as uint16 if that is the file's dtype.

        Raises:
            ValueError: The shape is wrong, or there are more rows than declared.
            EmergenceError: The disk is full.
        """
        n_left = self.spec.n_rows_of(name) - self._written[name]
        if block_td.ndim != 2 or block_td.shape[1] != self.spec.d_model or len(block_td) > n_left:
            raise ValueError(f"{name} takes [{n_left} more rows, {self.spec.d_model}], got shape {block_td.shape}")
        stored_td = to_storage(block_td, self.spec.dtype)
        if name in self.spec.datasets:
            # In one call: bytes written together are kept in large pages, which are read twice as fast.
            self.write(name, self._written[name] * self.spec.row_bytes, stored_td)
        n_rows = max(1, HOT_BYTES // self.spec.row_bytes)
        for start in range(0, len(stored_td), n_rows):
            self._count(name, stored_td[start : start + n_rows])

    def _count(self, name: str, stored_td: np.ndarray) -> None:
        """Add rows to the hash and the statistics."""
        start = self._written[name]
        self._hashes[name].update(stored_td.data)
        if name == "resid_post":  # statistics of the stored values, not of the given values
            rows_td = as_tensor(stored_td, self.spec.dtype)
            n_counted = max(0, STATISTICS_ROWS - start)
            if n_counted:
                self._moments.add(rows_td[:n_counted])
            if n_counted < len(rows_td):
                self._moments.count_not_finite(rows_td[n_counted:])
            preview_td = self._preview_td[start : start + len(stored_td)]
            preview_td[:] = to_float32(stored_td[: len(preview_td)], self.spec.dtype)
        self._written[name] += len(stored_td)

    def commit(self) -> None:
        """Complete the file, sync it to disk and rename it to its final name.

        Raises:
            ValueError: Fewer rows were appended than declared.
            EmergenceError: The disk is full.
        """
        for name, n_written in self._written.items():
            if n_written != self.spec.n_rows_of(name):
                raise ValueError(f"{name} has {n_written} of {self.spec.n_rows_of(name)} declared rows")
        hashes = {name: running.hexdigest() for name, running in self._hashes.items()}
        derived = {f"stats/{name}": values for name, values in self._moments.columns().items()}
        for name, values in (derived | {"preview": self._preview_td}).items():
            self.write(name, 0, values)
            hashes[name] = xxhash.xxh3_128_hexdigest(values.data)
        self.publish(hashes)


def as_tensor(stored_td: np.ndarray, dtype: str) -> Tensor:
    """Return the same memory as a tensor; bits of bfloat16 become bfloat16 values."""
    if dtype == "bfloat16":
        return torch.from_numpy(stored_td.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(stored_td)
