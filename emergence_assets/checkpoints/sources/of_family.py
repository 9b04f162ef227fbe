"""The source of a study's family, in this process or, from plain values, in a worker's."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from emergence_assets.checkpoints.sources.source import Source
from emergence_assets.study.family import Family, Hub, Local
from resources.files.storage import Storage

if TYPE_CHECKING:
    from emergence_assets.checkpoints.sources.hub import HubSource
from emergence_assets.study.offline import is_offline


def source_of(family: Family, storage: Storage) -> Source:
    """Where the checkpoints of a family come from."""
    if isinstance(family, Hub):
        return hub_source_of(family, storage)
    from emergence_assets.checkpoints.sources.local import LocalSource

    if isinstance(family, Local):
        return LocalSource(
            Path(family.root),
            family.folder,
            marker=family.marker,
            settle_seconds=family.settle_seconds,
            cache_root=storage.checkpoint_cache() / "converted",
            trusted=family.trust_remote_code,
            blocks=family.blocks,
        )
    return LocalSource(storage.training_root, settle_seconds=0.0, own=True)


def hub_source_of(family: Hub, storage: Storage, patience_seconds: float | None = None) -> "HubSource":
    """The hub of a family.

    Args:
        family: whose checkpoints.
        storage: where lock and cache lie by default.
        patience_seconds: how long to ask a hub that does not answer; see `HubClient`.
    """
    from emergence_assets.checkpoints.sources.cache import CheckpointCache
    from emergence_assets.checkpoints.sources.hub import HubSource
    from emergence_assets.checkpoints.sources.revision import RevisionPattern
    from resources.hub.client import HubClient

    return HubSource(
        {model: family.repository_of(model) for model in family.models},
        RevisionPattern(family.revision, family.step_offset),
        Path(family.lock) if family.lock else storage.checkpoint_lock_file(),
        CheckpointCache(storage.checkpoint_cache() / "hub", int(family.cache_gb * 1e9)),
        trusted=family.trust_remote_code,
        offline=is_offline(family),
        client=HubClient(patience_seconds=patience_seconds),
    )


def source_arguments(family: Family, storage: Storage) -> dict[str, Any]:
    """Plain values from which a worker makes the same source."""
    return {"family": family.model_dump(mode="json"), "data": str(storage.data), "study": storage.study}


def source_from(arguments: dict[str, Any]) -> Source:
    """The source of `source_arguments`."""
    family: Family = TypeAdapter(Family).validate_python(arguments["family"])
    return source_of(family, Storage(Path(arguments["data"]), arguments["study"]))
