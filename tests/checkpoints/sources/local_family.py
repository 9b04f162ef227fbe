"""A folder with the small family in it, and a source that reads it; for the tests of this folder."""

from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.sources.local import LocalSource
from emergence_assets.checkpoints.sources.source import CheckpointRef
from tests.checkpoints.sources.hub_family import MODEL


def make_source(root: Path, **options: Any) -> LocalSource:
    """A source that need not settle, with a place for converted pickles beside the root."""
    return LocalSource(root, **{"settle_seconds": 0.0, "cache_root": root.parent / "converted"} | options)


def steps(source: LocalSource) -> list[int]:
    """Steps that count."""
    return [ref.step for ref in source.list(MODEL).checkpoints]


def ref_of(source: LocalSource, step: int = 8) -> CheckpointRef:
    """The listed checkpoint of a step."""
    return next(ref for ref in source.list(MODEL).checkpoints if ref.step == step)


def why(source: LocalSource, step: int = 8) -> str:
    """Why a step does not count; the others do."""
    listing = source.list(MODEL)
    assert [ref.step for ref in listing.checkpoints] == [other for other in (0, 8, 64) if other != step]
    return listing.incomplete[step]
