"""Letting go of the rows of an activation file, compressing them, and putting them back.

The file is written anew without them, with everything else byte for byte, and replaces the old one by rename. The hash
of the rows stays in it: what comes back is what was there, or is refused. Callers hold the lock of the checkpoint.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import xxhash

from emergence_assets.activations.files.archive import block_rows, compress
from emergence_assets.activations.files.layout import (
    ARCHIVE,
    ARCHIVE_OFFSETS,
    FORMAT,
    FORMAT_VERSION,
    RESERVED_ATTRS,
    ActivationSpec,
    content_hash,
)
from emergence_assets.activations.files.reading import (
    Rows,
    checked,
    open_rows,
    read_spec,
    spec_of,
    unarchive_rows,
    verify_file,
)
from emergence_assets.activations.files.writing import FileInPreparation
from resources.errors import EmergenceError
from resources.hdf5.guarded import open_guarded


def evict_rows(path: Path) -> int:
    """Let go of the rows; read-outs, statistics, preview, hashes and provenance stay.

    Returns:
        Bytes that became free.

    Raises:
        EmergenceError: The file is damaged, or the disk too full for the small file that takes its place.
    """
    before = path.stat().st_size
    spec = read_spec(path)
    if spec.residency != "evicted":
        _rewrite(path, replace(spec, residency="evicted", archive_bytes=0, archive_block_rows=0), {})
    return before - path.stat().st_size


def archive_rows(path: Path) -> int:
    """Compress the rows; they are verified first.

    Returns:
        Bytes that became free.

    Raises:
        EmergenceError: The file is damaged, its rows were evicted, or the disk is full.
    """
    before, spec = path.stat().st_size, read_spec(path)
    if spec.residency != "archived":
        if spec.residency == "stored":
            verify_file(path)
        rows = open_rows(path, "resid_post")
        blocks = list(compress(np.asarray(rows.array)))
        offsets = np.concatenate([[0], np.cumsum([len(block) for block in blocks])]).astype("<i8")
        archived = replace(
            spec,
            residency="archived",
            archive_bytes=int(offsets[-1]),
            archive_block_rows=block_rows(spec.row_bytes),
        )
        _rewrite(path, archived, {ARCHIVE: np.frombuffer(b"".join(blocks), np.uint8), ARCHIVE_OFFSETS: offsets})
    return before - path.stat().st_size


def restore_rows(path: Path, rows: Rows | None = None) -> None:
    """Put the rows back into a file.

    Args:
        path: A file whose rows are archived or evicted; one that has its rows is left as it is.
        rows: Harvested anew; needed when they were evicted.

    Raises:
        EmergenceError: The rows are not those that were let go, the file is damaged, or the disk is full.
    """
    spec = read_spec(path)
    if spec.residency == "stored":
        return
    if spec.residency == "archived":
        rows = unarchive_rows(path)
    if rows is None:
        raise EmergenceError("The rows of this file were evicted.", where=path, remedy="harvest its checkpoint again")
    require_same_rows(path, rows)
    stored = replace(spec, residency="stored", archive_bytes=0, archive_block_rows=0)
    _rewrite(path, stored, {"resid_post": np.asarray(rows.array)})


def require_same_rows(path: Path, rows: Rows) -> None:
    """Compare rows that were harvested anew with those that a file's statistics and read-outs belong to.

    Raises:
        EmergenceError: They differ, in shape, type or any bit.
    """
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        spec, expected = spec_of(guarded), guarded.attrs.get("resid_post_xxh3_128")
    found = xxhash.xxh3_128_hexdigest(np.ascontiguousarray(rows.array).data)
    if (rows.dtype, rows.array.shape, found) != (spec.dtype, (spec.n_rows, spec.d_model), expected):
        raise EmergenceError(
            "The rows harvested now are not bit for bit those that this file was made with.",
            where=path,
            remedy="another machine or library rounds differently: delete the file and materialise its asset again",
        )


def _rewrite(path: Path, spec: ActivationSpec, new: Mapping[str, np.ndarray]) -> None:
    """The same file with another residency: `new` holds what the old one has not."""
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        attrs = {name: value for name, value in guarded.attrs.items() if name not in RESERVED_ATTRS}
        facts = {name: checked(guarded, name) for name in spec.datasets if name not in new}
        kept = {name: guarded.read(one) for name, one in facts.items()}
        hashes = {name: xxhash.xxh3_128_hexdigest(values.data) for name, values in kept.items()}
        # Copying damage under a fresh hash would hide it.
        if damaged := [name for name, one in facts.items() if one.xxh3_128 != hashes[name]]:
            raise guarded.refuse(
                f"Checksum mismatch: the bytes of {', '.join(damaged)} are not those that were written."
            )
        hashes["resid_post"] = str(guarded.attrs.get("resid_post_xxh3_128"))
        if content_hash(spec, hashes) != guarded.attrs.get("content_xxh3_128"):
            raise guarded.refuse("The content hash does not follow from the hashes of the datasets.")
    with FileInPreparation(path, spec, attrs) as file:
        for name, values in (dict(new) | kept).items():
            contiguous = np.ascontiguousarray(values)
            file.write(name, 0, contiguous)
            if name not in hashes:
                hashes[name] = xxhash.xxh3_128_hexdigest(contiguous.data)
        file.publish(hashes)
