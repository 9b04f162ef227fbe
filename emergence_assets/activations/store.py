r"""The activation file, format "emergence-activations" version 1: what it holds, and its writer.

One immutable file per (model, step, layer). Belongs here: this specification, its numbers, and `ActivationWriter`. The
reader is `reading.py`, capturing is `capture.py`; the file says nothing about where files lie.

Specification
=============

An HDF5 file with checksummed metadata (object version v110 or newer), without user block, links other than hard links,
chunks, filters, virtual or external storage. Every dataset is contiguous and little-endian, and carries the attribute
`xxh3_128`: 32 hexadecimal digits, XXH3-128 of its bytes in file order. All shapes are at least 1 in each dimension.

============================ ============= ======================================================================
dataset                      type          content
============================ ============= ======================================================================
/resid_post [n_rows, d]      `dtype`       residual stream after the layer; row i is row i of /training in tokens.h5
/read_out [n_probes, d]      `dtype`       the same at the last token of probe text j, which is row j of /probe
/read_out_mean [n_probes, d] `dtype`       mean over the tokens of probe text j without its first one
/preview [<=1024, d]         float32       first rows of /resid_post, for viewers
/stats/{mean,var,min,max}[d] float32       of the finite values in the columns of /resid_post; var divides by n
/stats/{nan_count,inf_count} int64 [d]     of the columns of /resid_post
============================ ============= ======================================================================

`dtype` is float16, float32 or bfloat16; bfloat16 is the 16-bit float with sign bit 15, exponent 7..14 (bias 127) and
mantissa 0..6, a true float type and not an integer. Row datasets carry `torch_dtype`, `units` and `long_name`.

Attributes of the root, scalars of fixed size (UTF-8 string, int64 or float64): `format` = "emergence-activations",
`format_version` = 1, `complete` = 1, `n_rows`, `n_probes`, `d_model`, `dtype`, `content_xxh3_128`, and whatever
provenance the writer was given. `content_xxh3_128` is XXH3-128 of the lines "name dtype n_rows d_model xxh3_128\n" of
the three row datasets in the order above: two files with equal values hold the same activations.

A file under its final name is complete: it is built under `.{name}.{pid}.tmp`, synchronised and renamed. Readers map
the bytes at the offset that HDF5 reports and leave conversion to HDF5 alone, which rounds bfloat16 wrongly.

    >>> import tempfile, h5py, numpy as np, xxhash
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "layer.h5"
    >>> rows = np.array([[1.0, -2.5], [0.5, 3.0], [0.0, 0.0]], np.float32)
    >>> with ActivationWriter(path, ActivationSpec(3, 1, 2, "bfloat16"), {"layer": 4}) as writer:
    ...     for name, block in [("resid_post", rows), ("read_out", rows[:1]), ("read_out_mean", rows[1:2])]:
    ...         writer.append(name, block)
    ...     writer.commit()
    >>> with h5py.File(path) as file:
    ...     attrs = {name: file.attrs[name] for name in ("format", "format_version", "complete", "n_rows", "layer")}
    ...     resid_post = file["resid_post"]
    ...     offset, shape, expected = resid_post.id.get_offset(), resid_post.shape, resid_post.attrs["xxh3_128"]
    >>> {name: value.decode() if isinstance(value, bytes) else int(value) for name, value in attrs.items()}
    {'format': 'emergence-activations', 'format_version': 1, 'complete': 1, 'n_rows': 3, 'layer': 4}
    >>> bits = np.memmap(path, "<u2", "r", offset, shape)
    >>> xxhash.xxh3_128_hexdigest(bits.tobytes()) == expected.decode()
    True
    >>> (bits.astype(np.uint32) << 16).view(np.float32).tolist()
    [[1.0, -2.5], [0.5, 3.0], [0.0, 0.0]]
    >>> folder.cleanup()
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
import xxhash

from emergence_assets.activations.hdf5 import (
    LIBVER,
    NUMERIC_TYPES,
    AttrValue,
    create_contiguous,
    full_disk_explained,
    require_space,
    temporary_path,
    to_float32,
    to_storage,
    write_attrs,
)
from emergence_assets.activations.moments import ColumnMoments
from emergence_assets.durable import publish

FORMAT = "emergence-activations"
FORMAT_VERSION = 1
ROW_DTYPES = ("float16", "bfloat16", "float32")
ROW_DATASETS = {
    "resid_post": "residual stream after the layer at the training tokens",
    "read_out": "residual stream after the layer at the last token of the probe texts",
    "read_out_mean": "mean of the residual stream over the tokens of the probe texts, first token left out",
}
STATS = dict.fromkeys(("mean", "var", "min", "max"), "float32") | dict.fromkeys(("nan_count", "inf_count"), "int64")
PREVIEW_ROWS = 1024
PAGE_BYTES = 4096
OVERHEAD_BYTES = 64 * 1024
"""Upper bound of metadata and alignment, for the check whether a disk can hold the file."""
RESERVED_ATTRS = frozenset(
    {"format", "format_version", "complete", "n_rows", "n_probes", "d_model", "dtype", "content_xxh3_128"}
)
NO_HASH = "0" * 32


@dataclass(frozen=True)
class ActivationSpec:
    """What has to be known before a file is created: the shapes follow from the token file."""

    n_rows: int
    """Rows of /resid_post: training tokens."""
    n_probes: int
    """Rows of /read_out: probe texts."""
    d_model: int
    dtype: str = "float16"
    """One of `ROW_DTYPES`."""

    def __post_init__(self) -> None:
        if min(self.n_rows, self.n_probes, self.d_model) < 1:
            raise ValueError(f"every dimension needs at least one element: {self}")
        if self.dtype not in ROW_DTYPES:
            raise ValueError(f"dtype is one of {', '.join(ROW_DTYPES)}, not {self.dtype!r}")

    @property
    def datasets(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Path → shape and dtype of every dataset of the file."""
        n_rows = {"resid_post": self.n_rows, "read_out": self.n_probes, "read_out_mean": self.n_probes}
        rows = {name: ((n_rows[name], self.d_model), self.dtype) for name in ROW_DATASETS}
        stats = {f"stats/{name}": ((self.d_model,), dtype) for name, dtype in STATS.items()}
        return rows | {"preview": ((min(self.n_rows, PREVIEW_ROWS), self.d_model), "float32")} | stats

    @property
    def n_bytes(self) -> int:
        """What the file takes on disk at most."""
        data = sum(prod(shape) * NUMERIC_TYPES[dtype][1].itemsize for shape, dtype in self.datasets.values())
        return data + OVERHEAD_BYTES


class ActivationWriter:
    """Writes one activation file, block by block, and makes it visible as a whole or not at all.

    The space is reserved when the writer is made: a full disk shows before the first forward pass. Leaving the `with`
    block without `commit` removes everything.

    Args:
        path: Final name; a file there is replaced at the commit.
        spec: Shapes and dtype.
        attrs: Provenance for the root attributes; str, int or float.

    Raises:
        EmergenceError: The disk, quota or file size limit does not hold the file.
        ValueError: `attrs` uses a reserved name.
    """

    def __init__(self, path: Path, spec: ActivationSpec, attrs: Mapping[str, AttrValue]):
        if taken := RESERVED_ATTRS & attrs.keys():
            raise ValueError(f"attributes {sorted(taken)} belong to the format")
        self.path, self.spec = Path(path), spec
        self._moments = ColumnMoments(spec.d_model)
        self._hashes = {name: xxhash.xxh3_128() for name in ROW_DATASETS}
        self._written = dict.fromkeys(ROW_DATASETS, 0)
        self._preview_td = np.empty(spec.datasets["preview"][0], "<f4")
        self._temporary = temporary_path(self.path)
        self._descriptor = -1
        require_space(self.path.parent, spec.n_bytes)
        try:
            with full_disk_explained(self.path.parent, spec.n_bytes):
                self._offsets = self._create(attrs)
                self._descriptor = os.open(self._temporary, os.O_WRONLY)
                if hasattr(os, "posix_fallocate"):  # without it (macOS) a full disk shows at the first append beyond it
                    os.posix_fallocate(self._descriptor, 0, os.fstat(self._descriptor).st_size)
        except BaseException:
            self.abort()
            raise

    def _create(self, attrs: Mapping[str, AttrValue]) -> dict[str, int]:
        # All attributes are created at their final size: the commit overwrites in place and needs no space.
        spec = self.spec
        root: dict[str, AttrValue] = {"format": FORMAT, "format_version": FORMAT_VERSION, "complete": 0}
        root |= {"n_rows": spec.n_rows, "n_probes": spec.n_probes, "d_model": spec.d_model, "dtype": spec.dtype}
        with h5py.File(
            self._temporary, "x", libver=LIBVER, alignment_threshold=1024, alignment_interval=PAGE_BYTES
        ) as file:
            write_attrs(file, root | {"content_xxh3_128": NO_HASH} | dict(attrs))
            stats, offsets = file.create_group("stats"), {}
            for name, (shape, dtype) in spec.datasets.items():
                parent = stats if name.startswith("stats/") else file
                dataset = create_contiguous(parent, name.rpartition("/")[2], shape, dtype)
                write_attrs(dataset, {"xxh3_128": NO_HASH})
                if name in ROW_DATASETS:
                    write_attrs(dataset, {"torch_dtype": dtype, "units": "1", "long_name": ROW_DATASETS[name]})
                offsets[name] = dataset.id.get_offset()
            return offsets

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def append(self, name: str, block_td: np.ndarray) -> None:
        """Write the next rows of a row dataset.

        Args:
            name: resid_post, read_out or read_out_mean.
            block_td: Floats [any number, d_model], or the bits of bfloat16 as uint16 when that is the file's dtype.

        Raises:
            ValueError: The shape is wrong, or more rows come than were declared.
            EmergenceError: The disk is full.
        """
        start, n_declared = self._written[name], self.spec.datasets[name][0][0]
        if block_td.ndim != 2 or block_td.shape[1] != self.spec.d_model or start + len(block_td) > n_declared:
            raise ValueError(
                f"{name} takes [{n_declared - start} more rows, {self.spec.d_model}], got shape {block_td.shape}"
            )
        stored_td = to_storage(block_td, self.spec.dtype)
        self._write(self._offsets[name] + start * self.spec.d_model * stored_td.itemsize, stored_td)
        self._hashes[name].update(stored_td.data)
        if name == "resid_post":
            float_td = to_float32(stored_td, self.spec.dtype)
            self._moments.add(float_td)  # while the rows are in cache: of what is stored, not of what was given
            self._preview_td[start : start + len(float_td)] = float_td[: max(0, len(self._preview_td) - start)]
        self._written[name] += len(stored_td)

    def commit(self) -> None:
        """Complete the file, bring it to disk and give it its final name.

        Raises:
            ValueError: Fewer rows were appended than declared.
        """
        for name, n_written in self._written.items():
            if n_written != self.spec.datasets[name][0][0]:
                raise ValueError(f"{name} has {n_written} of {self.spec.datasets[name][0][0]} declared rows")
        with full_disk_explained(self.path.parent, self.spec.n_bytes):
            hashes = {name: running.hexdigest() for name, running in self._hashes.items()}
            derived = {f"stats/{name}": values for name, values in self._moments.columns().items()}
            for name, values in (derived | {"preview": self._preview_td}).items():
                self._write(self._offsets[name], values)
                hashes[name] = xxhash.xxh3_128_hexdigest(values.data)
            os.fsync(self._descriptor)
            with h5py.File(self._temporary, "r+", libver=LIBVER) as file:
                for name, digest in hashes.items():
                    write_attrs(file[name], {"xxh3_128": digest})
                write_attrs(file, {"content_xxh3_128": content_hash(self.spec, hashes), "complete": 1})
            publish(self._temporary, self.path)
        self.abort()

    def abort(self) -> None:
        """Close, and remove what was not committed. May be called more than once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._temporary.unlink(missing_ok=True)

    def _write(self, offset: int, values: np.ndarray) -> None:
        remaining = values.data.cast("B")
        with full_disk_explained(self.path.parent, self.spec.n_bytes):
            while remaining:  # one call writes 2 GiB at most
                n_bytes = os.pwrite(self._descriptor, remaining, offset)
                remaining, offset = remaining[n_bytes:], offset + n_bytes


def content_hash(spec: ActivationSpec, hashes: Mapping[str, str]) -> str:
    """One hash for the activations of a file, from the hashes of its row datasets."""
    lines = [
        f"{name} {spec.dtype} {spec.datasets[name][0][0]} {spec.d_model} {hashes[name]}\n" for name in ROW_DATASETS
    ]
    return xxhash.xxh3_128_hexdigest("".join(lines).encode())
