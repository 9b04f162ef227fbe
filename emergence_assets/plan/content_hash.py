"""Content hash of a cell: one hash over all its stored files. Its event keeps it, and an exchanged file changes it.

Every file carries a hash of its own content, so that only these hashes are read. A file that was edited and given a
new hash of its own changes the content hash of its cell.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell
from resources.files.provenance import Provenance
from resources.files.storage import Storage
from resources.tables.parquet import table_checksum

VERSION_TAG = "dagster/data_version"
"""Tag that Dagster sets on every materialisation event: the fingerprint of the cell."""
CONTENT_HASH_TAG = "emergence/seal"
"""Tag of a materialisation event: the content hash of the cell."""
CREATED_TAG = "emergence/created"
"""Tag of a materialisation event: the time at which the file was written, in the spelling of `tag_time`."""
_LASTING_FIELDS = ("content_xxh3_128",)
"""Fields in the summary of an activation file that never change. Rows may be evicted and restored, and the other
numbers are computed when the file is read."""


def content_hash(spec: AssetSpec, storage: Storage, cell: Cell) -> str:
    """Hash all that is stored of a cell: 32 hexadecimal digits, independent of the place of the data folder.

    Raises:
        EmergenceError: the stored cell is damaged.
    """
    path = spec.path(storage, cell)
    tables = [path] if path.suffix == ".parquet" else []
    tables += tables_beside(spec, storage, cell)
    lines = [f"{table.relative_to(storage.root).as_posix()} {table_checksum(table)}" for table in tables]
    stored = stored_provenance(spec, path)
    if stored and path.suffix != ".parquet":
        lines.append((_lasting(stored) if path.suffix == ".h5" else stored).to_json())
    return sha256("\n".join(lines).encode()).hexdigest()[:32]


def tag_time(created: str) -> str:
    """Spell a time with the characters that a tag may have."""
    return re.sub(r"[^0-9A-Za-z_.-]", "-", created)[:63]


def tables_beside(spec: AssetSpec, storage: Storage, cell: Cell) -> Iterator[Path]:
    """Yield the paths of the tables that are made with a cell, whether they exist or not."""
    for path in spec.also(storage, cell):
        if path.suffix == ".parquet":
            yield path
        elif path.is_dir():
            yield from sorted(path.glob("*.parquet"))


def _lasting(stored: Provenance) -> Provenance:
    kept = {name: stored.summary.get(name) for name in _LASTING_FIELDS}
    return Provenance(stored.required, kept, stored.environment, stored.created)
