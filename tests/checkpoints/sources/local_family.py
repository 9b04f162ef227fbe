"""A folder with the small family, and a source that reads it; for the tests of this folder."""

from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.sources.local import LocalSource
from emergence_assets.checkpoints.sources.source import CheckpointRef
from tests.checkpoints.sources.hub_family import MODEL


def make_source(root: Path, **options: Any) -> LocalSource:
    """Make a source without settling time, with a folder for converted pickles beside the root."""
    return LocalSource(root, **{"settle_seconds": 0.0, "cache_root": root.parent / "converted"} | options)


def steps(source: LocalSource) -> list[int]:
    """List the complete steps."""
    return [ref.step for ref in source.list(MODEL).checkpoints]


def ref_of(source: LocalSource, step: int = 8) -> CheckpointRef:
    """Return the listed checkpoint of a step."""
    return next(ref for ref in source.list(MODEL).checkpoints if ref.step == step)


def why(source: LocalSource, step: int = 8) -> str:
    """Return the reason why a step is incomplete; all other steps are complete."""
    listing = source.list(MODEL)
    assert [ref.step for ref in listing.checkpoints] == [other for other in (0, 8, 64) if other != step]
    return listing.incomplete[step]
