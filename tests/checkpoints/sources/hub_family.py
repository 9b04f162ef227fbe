"""A hub with the small family, and a source that reads it; for the tests of this folder."""

from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.sources.cache import CheckpointCache
from emergence_assets.checkpoints.sources.hub import HubSource
from emergence_assets.checkpoints.sources.source import CheckpointRef
from emergence_assets.study.family import Hub
from resources.files.storage import Storage
from resources.hub.client import HubClient
from tests.family import step_folder
from tests.hub.server import HubServer

MODEL, REPOSITORY = "gloss-tiny", "someone/gloss-tiny"
STEPS = (0, 8, 64)
SHAPE = {"d_model": 16, "n_layers": 2}
SHAPES = {MODEL: SHAPE}


def publish(hub: HubServer, family: Path, *steps: int, model: str = MODEL) -> dict[int, str]:
    """Publish steps of a model, by default three; return step to commit."""
    return {
        step: hub.add_revision(f"someone/{model}", f"step{step}", step_folder(family, model, step))
        for step in steps or STEPS
    }


def make_source(
    hub: HubServer,
    folder: Path,
    *,
    pattern: str = "step{step}",
    retry_seconds: float = 5.0,
    limit_bytes: int = 10**9,
    **options: Any,
) -> HubSource:
    """Make a source of one model, with lock and cache in a folder; further options are fields of the family."""
    repositories = options.pop("repositories", {MODEL: REPOSITORY})
    family = Hub(
        source="hub",
        models={model: SHAPE | {"repository": repository} for model, repository in repositories.items()},
        repository=REPOSITORY,
        tokens_per_step=64,
        revision=pattern,
        lock=str(folder / "lock.json"),
        **options,
    )
    source = HubSource(family, Storage(folder, "study"), HubClient(hub.endpoint, retry_seconds))
    source.cache = CheckpointCache(folder / "cache", limit_bytes, wait_seconds=0.2)
    return source


def ref_of(source: HubSource, step: int, model: str = MODEL) -> CheckpointRef:
    """Return the listed checkpoint of a step."""
    return next(ref for ref in source.list(model).checkpoints if ref.step == step)


def silent(_done: int, _total: int, _note: str) -> None:
    """Ignore progress."""
