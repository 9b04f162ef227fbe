"""One hash over all that is stored of a cell, which its event keeps: files that were exchanged no longer agree with it.

Every file carries a hash of its own content, so that reading these hashes is enough. Whoever edits a file and writes
a new hash into it changes the seal.
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
"""Tag of every event that Dagster keeps: the fingerprint of what was made."""
SEAL_TAG = "emergence/seal"
"""Tag of a materialisation event."""
CREATED_TAG = "emergence/created"
"""Tag of a materialisation event: when the file was written, as `moment` spells it."""
_OF_ACTIVATIONS = ("content_xxh3_128",)
"""Of the summary of an activation file, what the file itself holds for good: rows may be evicted and come back, and the
other numbers are worked out when it is read."""


def seal(spec: AssetSpec, storage: Storage, cell: Cell) -> str:
    """The hash, 32 digits; it does not depend on where the data folder lies.

    Raises:
        EmergenceError: what is stored is damaged.
    """
    path = spec.path(storage, cell)
    tables = [path] if path.suffix == ".parquet" else []
    tables += tables_beside(spec, storage, cell)
    lines = [f"{table.relative_to(storage.root).as_posix()} {table_checksum(table)}" for table in tables]
    stored = stored_provenance(spec, path)
    if stored and path.suffix != ".parquet":
        lines.append((_lasting(stored) if path.suffix == ".h5" else stored).to_json())
    return sha256("\n".join(lines).encode()).hexdigest()[:32]


def moment(created: str) -> str:
    """A date with the characters that a tag may have."""
    return re.sub(r"[^0-9A-Za-z_.-]", "-", created)[:63]


def tables_beside(spec: AssetSpec, storage: Storage, cell: Cell) -> Iterator[Path]:
    """Tables that were made with a cell, whether they are there or not."""
    for path in spec.also(storage, cell):
        if path.suffix == ".parquet":
            yield path
        elif path.is_dir():
            yield from sorted(path.glob("*.parquet"))


def _lasting(stored: Provenance) -> Provenance:
    kept = {name: stored.summary.get(name) for name in _OF_ACTIVATIONS}
    return Provenance(stored.required, kept, stored.environment, stored.created)
