"""Layout of activation files: names, types and shapes, see `docs/activation-format.md`. Opens no file.

The writer is `writing.py`, the reader is `reading.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

import xxhash

from resources.hdf5.hdf5 import NUMERIC_TYPES, AttrValue

FORMAT = "emergence-activations"
FORMAT_VERSION = 1
ROW_DTYPES = ("float16", "bfloat16", "float32")
ROW_DATASETS = {
    "resid_post": "residual stream after the layer at the training tokens",
    "read_out": "residual stream after the layer at the last token of the probe texts",
    "read_out_mean": "mean of the residual stream over the tokens of the probe texts, first token left out",
}
ROW_DIMENSIONS = {"resid_post": "token", "read_out": "probe_text", "read_out_mean": "probe_text"}
STATS = dict.fromkeys(("mean", "var", "min", "max"), "float32") | dict.fromkeys(("nan_count", "inf_count"), "int64")
PREVIEW_ROWS = 1024
STATISTICS_ROWS = 65_536
"""First rows whose mean, variance and extremes are stored; a streamed file has no other rows. NaN and infinity are
counted in all rows."""
PAGE_BYTES = 4096
LARGE_BYTES, LARGE_ALIGNMENT = 64 << 20, 1 << 20
"""Datasets of at least `LARGE_BYTES` are aligned to large pages, which makes sequential reads 10 % faster."""
OVERHEAD_BYTES = 64 * 1024
"""Upper bound of metadata, and of alignment in small files, for the check of free disk space."""
METADATA_BYTES = 16 * 1024
"""Typical bytes of metadata and alignment, with a provenance of usual length."""
NO_HASH = "0" * 32
StorageState = Literal["stored", "evicted", "sampled"]
"""Whether /resid_post is in the file, was in it, or was never made as a whole: the rows of a sampled file are the first
`STATISTICS_ROWS` or fewer. Stored in the attribute `residency`."""
STORAGE_STATES: tuple[StorageState, ...] = get_args(StorageState)


@dataclass(frozen=True)
class ActivationSpec:
    """Shapes and data type of a file, which follow from the token file before the file is created.

    Raises:
        ValueError: A dimension is empty, or dtype or storage state is unknown.
    """

    n_rows: int
    """Rows of /resid_post: training tokens; of a sampled file the rows of its statistics."""
    n_probes: int
    """Rows of /read_out: probe texts."""
    d_model: int
    dtype: str = "float16"
    """One of `ROW_DTYPES`."""
    storage_state: StorageState = "stored"

    def __post_init__(self) -> None:
        if min(self.n_rows, self.n_probes, self.d_model) < 1:
            raise ValueError(f"every dimension needs at least one element: {self}")
        if self.dtype not in ROW_DTYPES:
            raise ValueError(f"dtype is one of {', '.join(ROW_DTYPES)}, not {self.dtype!r}")
        if self.storage_state not in STORAGE_STATES:
            raise ValueError(f"residency is one of {', '.join(STORAGE_STATES)}, not {self.storage_state!r}")

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.d_model * NUMERIC_TYPES[self.dtype][1].itemsize

    def n_rows_of(self, name: str) -> int:
        """Return the number of rows of a row dataset, whether it is in the file or not."""
        return self.n_rows if name == "resid_post" else self.n_probes

    @property
    def datasets(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Path → shape and dtype of every dataset of the file."""
        present = [name for name in ROW_DATASETS if name != "resid_post" or self.storage_state == "stored"]
        rows = {name: ((self.n_rows_of(name), self.d_model), self.dtype) for name in present}
        stats = {f"stats/{name}": ((self.d_model,), dtype) for name, dtype in STATS.items()}
        preview = {"preview": ((min(self.n_rows, PREVIEW_ROWS), self.d_model), "float32")}
        return rows | preview | stats

    @property
    def n_bytes(self) -> int:
        """Upper bound of the bytes of the file on disk."""
        data = sum(prod(shape) * NUMERIC_TYPES[dtype][1].itemsize for shape, dtype in self.datasets.values())
        return data + OVERHEAD_BYTES + (len(ROW_DATASETS) + 1) * self.alignment[1] * self.is_large

    @property
    def is_large(self) -> bool:
        """Whether the file is large enough for alignment to large pages."""
        return self.storage_state == "stored" and self.n_rows * self.row_bytes >= LARGE_BYTES

    @property
    def alignment(self) -> tuple[int, int]:
        """Minimum size of an aligned dataset, and the alignment of its first byte, both in bytes."""
        return (LARGE_ALIGNMENT, LARGE_ALIGNMENT) if self.is_large else (1024, PAGE_BYTES)

    @property
    def attrs(self) -> dict[str, AttrValue]:
        """Root attributes of the file with these shapes, data type and storage state."""
        shapes: dict[str, AttrValue] = {"n_rows": self.n_rows, "n_probes": self.n_probes, "d_model": self.d_model}
        return shapes | {"dtype": self.dtype, "residency": self.storage_state}


RESERVED_ATTRS = frozenset(
    {"format", "format_version", "complete", "content_xxh3_128", "resid_post_xxh3_128"}
    | ActivationSpec(1, 1, 1).attrs.keys()
)


def content_hash(spec: ActivationSpec, hashes: Mapping[str, str]) -> str:
    """Hash the activations of a file by the hashes of its row datasets; equal in both storage states."""
    lines = [f"{name} {spec.dtype} {spec.n_rows_of(name)} {spec.d_model} {hashes[name]}\n" for name in ROW_DATASETS]
    return xxhash.xxh3_128_hexdigest("".join(lines).encode())
