"""A folder with the small family, and a source that reads it; for the tests of this folder."""

from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.sources.local import LocalSource
from emergence_assets.checkpoints.sources.source import CheckpointRef
from emergence_assets.checkpoints.sources.trained import TrainedSource
from emergence_assets.study.family import Local
from resources.files.storage import Storage
from tests.checkpoints.sources.hub_family import MODEL, SHAPES


def make_source(root: Path, **options: Any) -> LocalSource:
    """Make a source without settling time, with a folder for converted pickles beside the root."""
    family = Local(source="local", root=str(root), tokens_per_step=64, models=SHAPES, settle_seconds=0.0)
    source = LocalSource(family, Storage(root.parent / "data", "study"))
    for name, value in options.items():
        setattr(source, name, value)
    return source


def trained_source(root: Path) -> TrainedSource:
    """Make a source of models that were trained into a folder."""
    source = TrainedSource(None, Storage(root.parent / "data", "study"))
    source.root = root
    return source


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
