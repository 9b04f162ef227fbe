"""Evict the rows of an activation file, and restore them.

The file is rewritten without the rows, with all other content byte for byte, and replaces the old file by rename. It
keeps the hash of the rows, so that only rows that are equal in every bit are restored. Callers hold the lock of the
checkpoint.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import xxhash

from emergence_assets.activations.files.layout import FORMAT, FORMAT_VERSION, RESERVED_ATTRS, ActivationSpec
from emergence_assets.activations.files.reading import (
    Rows,
    checked,
    read_spec,
    require_equal_hashes,
    spec_of,
    stored_hashes,
)
from emergence_assets.activations.files.writing import FileInPreparation
from resources.errors import EmergenceError
from resources.hdf5.guarded import open_guarded


def evict_rows(path: Path) -> int:
    """Evict the rows; read-outs, statistics, preview, hashes and provenance stay.

    Returns:
        Bytes that became free.

    Raises:
        EmergenceError: The file is damaged, or the disk is too full for the smaller file that replaces it.
    """
    before = path.stat().st_size
    spec = read_spec(path)
    if spec.storage_state == "stored":
        _rewrite(path, replace(spec, storage_state="evicted"), {})
    return before - path.stat().st_size


def restore_rows(path: Path, rows: Rows) -> None:
    """Put the rows back into a file.

    Args:
        path: A file whose rows are evicted; a file with stored rows is not changed.
        rows: [rows, d_model], captured again from the checkpoint.

    Raises:
        EmergenceError: The rows differ from the evicted rows, the file is damaged, or the disk is full.
    """
    spec = read_spec(path)
    if spec.storage_state == "evicted":
        require_same_rows(path, rows)
        _rewrite(path, replace(spec, storage_state="stored"), {"resid_post": np.asarray(rows.array)})


def require_same_rows(path: Path, rows: Rows) -> None:
    """Compare rows that were captured again with the hash of the original rows of a file.

    Raises:
        EmergenceError: Shape, type or any bit differs.
    """
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        spec, expected = spec_of(guarded), guarded.attrs.get("resid_post_xxh3_128")
    found = xxhash.xxh3_128_hexdigest(np.ascontiguousarray(rows.array).data)
    if (rows.dtype, rows.array.shape, found) != (spec.dtype, (spec.n_rows, spec.d_model), expected):
        raise EmergenceError(
            "The rows captured now are not bit for bit the original rows of this file.",
            where=path,
            remedy="another machine or library rounds differently: delete the file and materialise its asset again",
        )


def _rewrite(path: Path, spec: ActivationSpec, new: Mapping[str, np.ndarray]) -> None:
    """Rewrite a file in another storage state; `new` holds the datasets that the old file lacks."""
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        attrs = {name: value for name, value in guarded.attrs.items() if name not in RESERVED_ATTRS}
        facts = {name: checked(guarded, name) for name in spec.datasets if name not in new}
        require_equal_hashes(guarded, facts.values())  # a copy of damaged bytes under a new hash would hide the damage
        hashes = stored_hashes(guarded, facts)
        kept = {name: guarded.read(dataset) for name, dataset in facts.items()}
    with FileInPreparation(path, spec, attrs) as file:
        for name, values in (dict(new) | kept).items():
            file.write(name, 0, np.ascontiguousarray(values))
        file.publish(hashes)
