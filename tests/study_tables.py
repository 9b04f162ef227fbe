"""All tables of a study, for comparisons."""

import io
from pathlib import Path

import polars as pl

from resources.tables.parquet import parquet_provenance


def tables(data: Path) -> dict[str, tuple[bytes, str]]:
    """Read every table of the tiny study: the bytes of its columns without dates, and the fingerprint of its inputs."""
    found = {}
    root = data / "tiny/tables"
    for path in sorted(root.rglob("*.parquet")):
        content = io.BytesIO()
        pl.read_parquet(path, hive_partitioning=False).write_ipc(content)
        stored = parquet_provenance(path)
        found[str(path.relative_to(root))] = (content.getvalue(), stored.fingerprint if stored else "")
    assert len(found) > 30
    return found
