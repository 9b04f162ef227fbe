"""Comparison of a file or folder with its reproduction: equal bit for bit, or the size of the differences.

Dates, runs and other values about the making of a file are not compared, nor are speeds.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from resources.errors import EmergenceError
from resources.files.records import RECORD_NAME

IGNORED_VALUES = frozenset({"tokens_per_second", "resumed_from", "files_sha256", "location", "environment"})
"""Names of values about the making of a file; hashed files are compared themselves."""
IGNORED_FILES = frozenset({RECORD_NAME, "started.json", "index.html"})
"""Files with dates and runs; the figures and tables of the page are compared themselves."""


@dataclass(frozen=True)
class Difference:
    """One column, array or value that differs."""

    path: str
    """File, relative to the study's folder."""
    name: str
    """Column, array or field; empty for the file as a whole."""
    what: str
    n_differing: int = 0
    """Number of elements that differ."""
    largest: float | None = None
    """Largest absolute difference; None for values that are not numbers."""
    relative: float | None = None
    """`largest` over the largest absolute value of the first file; None as above."""


def compare(first: Path, second: Path, root: Path) -> list[Difference]:
    """List the differences between a file or folder and its reproduction.

    Args:
        first: stored file or folder.
        second: reproduced file or folder.
        root: folder that contains `first`; names of files are relative to it.

    Raises:
        EmergenceError: a file is damaged.
    """
    name = first.relative_to(root).as_posix()
    if first.is_dir() or second.is_dir():
        return [difference for one in _files(first, second) for difference in compare(first / one, second / one, root)]
    if not first.exists() and not second.exists():
        return []
    if not first.exists() or not second.exists():
        return [Difference(name, "", "stored and not made again" if first.exists() else "made again and not stored")]
    if first.suffix == ".parquet":
        return list(_frames(name, _frame(first), _frame(second)))
    if first.suffix in (".h5", ".safetensors"):
        load = _activations if first.suffix == ".h5" else _tensors
        return list(_arrays(name, load(first), load(second)))
    if first.suffix == ".json":
        return list(_values(name, _flat(first), _flat(second)))
    same = first.read_bytes() == second.read_bytes()
    return [] if same else [Difference(name, "", "other bytes")]


def _files(first: Path, second: Path) -> list[Path]:
    names = {
        path.relative_to(folder)
        for folder in (first, second)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in IGNORED_FILES
    }
    return sorted(names)


def _frame(path: Path) -> pl.DataFrame:
    from resources.tables.parquet import verify_table

    verify_table(path)
    return pl.read_parquet(path, glob=False, hive_partitioning=False)


def _frames(path: str, first: pl.DataFrame, second: pl.DataFrame) -> Iterator[Difference]:
    if first.schema != second.schema or first.height != second.height:
        yield Difference(path, "", f"{first.height} rows and {second.height}, or other columns")
        return
    for name in first.columns:
        one, other = first[name], second[name]
        if one.dtype.is_nested():
            one, other = one.explode(), other.explode()
            if len(one) != len(other):
                yield Difference(path, name, "lists of other lengths")
                continue
        differs = one.ne_missing(other)
        if not differs.any():
            continue
        if one.dtype.is_numeric():
            yield _numbers(path, name, one.cast(pl.Float64).to_numpy(), other.cast(pl.Float64).to_numpy())
        else:
            yield Difference(path, name, "other values", int(differs.sum()))


def _activations(path: Path) -> dict[str, np.ndarray]:
    """Read the stored rows and the statistics of an activation file."""
    from emergence_assets.activations.files.layout import ROW_DATASETS
    from emergence_assets.activations.files.reading import open_rows, read_attrs, read_spec, read_stats

    kept = [name for name in ROW_DATASETS if name != "resid_post" or read_spec(path).storage_state == "stored"]
    arrays = {name: open_rows(path, name, verify=True).float32() for name in kept}
    arrays |= {f"stats/{name}": column for name, column in read_stats(path).items()}
    if read_spec(path).storage_state == "sampled":  # its rows are others
        return arrays
    rows_hash = str(read_attrs(path)["resid_post_xxh3_128"])  # stored also without the rows
    return arrays | {"hash of resid_post": np.array([rows_hash])}


def _tensors(path: Path) -> dict[str, np.ndarray]:
    import safetensors.numpy

    try:
        return dict(safetensors.numpy.load_file(path))
    except Exception as error:  # the library raises several kinds of errors for a damaged file
        raise EmergenceError(f"The tensors cannot be read: {error}.", where=path, remedy="verify the study") from None


def _arrays(path: str, first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> Iterator[Difference]:
    for name in sorted({*first, *second}):
        one, other = first.get(name), second.get(name)
        if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
            yield Difference(path, name, "absent, or of another shape or type")
        elif one.tobytes() != other.tobytes():
            if one.dtype.kind == "f":
                yield _numbers(path, name, one.astype("f8").ravel(), other.astype("f8").ravel())
            else:
                yield Difference(path, name, "other values", int((one != other).sum()))


def _numbers(path: str, name: str, first: np.ndarray, second: np.ndarray) -> Difference:
    is_number = np.isfinite(first) & np.isfinite(second)
    apart = np.abs(first[is_number] - second[is_number])
    differing = int((apart > 0).sum() + (np.isfinite(first) != np.isfinite(second)).sum())
    if (np.isfinite(first) != np.isfinite(second)).any():
        return Difference(path, name, "other values are undefined", differing)
    largest, scale = float(apart.max(initial=0.0)), float(np.abs(first[is_number]).max(initial=0.0))
    return Difference(path, name, "other numbers", differing, largest, largest / scale if scale else largest)


def _flat(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise EmergenceError("The file is not JSON.", where=path, remedy="verify the study") from None
    if isinstance(read, dict) and {"summary", "fingerprint", "created"} <= read.keys():
        read = read["summary"]  # of a record: the fingerprint compares its other fields
    return dict(_leaves("", read))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if parts is None:
        yield name, value
        return
    for key, part in parts:
        if key not in IGNORED_VALUES:
            yield from _leaves(f"{name}.{key}" if name else str(key), part)


def _values(path: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted({*first, *second}):
        one, other = first.get(name), second.get(name)
        if one == other:
            continue
        if isinstance(one, int | float) and isinstance(other, int | float):
            yield _numbers(path, name, np.array([float(one)]), np.array([float(other)]))
        else:
            yield Difference(path, name, "another value", 1)
