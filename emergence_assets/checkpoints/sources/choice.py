"""The source of a study's family, in this process or, from plain values, in a worker's."""

import os
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from emergence_assets.checkpoints.sources.source import Source
from emergence_assets.family import Family, Hub, Local
from resources.storage import Storage

PINNED_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Environment variables by which users of hubs say that there is no network."""


def source_of(family: Family, storage: Storage) -> Source:
    """Where the checkpoints of a family come from."""
    if isinstance(family, Hub):
        from emergence_assets.checkpoints.sources.cache import CheckpointCache
        from emergence_assets.checkpoints.sources.hub import HubSource

        return HubSource(
            {model: family.repository_of(model) for model in family.models},
            family.revision,
            Path(family.lock) if family.lock else storage.checkpoint_lock_file(),
            CheckpointCache(storage.checkpoint_cache() / "hub", int(family.cache_gb * 1e9)),
            trusted=family.trust_remote_code,
            offline=family.offline or any(os.environ.get(name, "") in ("1", "true", "TRUE") for name in PINNED_OFFLINE),
        )
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
    return LocalSource(storage.training_folder("model").parent, settle_seconds=0.0)


def source_arguments(family: Family, storage: Storage) -> dict[str, Any]:
    """Plain values from which a worker makes the same source."""
    return {"family": family.model_dump(mode="json"), "data": str(storage.data), "study": storage.study}


def source_from(arguments: dict[str, Any]) -> Source:
    """The source of `source_arguments`."""
    family: Family = TypeAdapter(Family).validate_python(arguments["family"])
    return source_of(family, Storage(Path(arguments["data"]), arguments["study"]))
