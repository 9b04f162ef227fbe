"""Make the source of a study's family, in this process or, from plain values, in a worker."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from emergence_assets.checkpoints.sources.source import Source
from emergence_assets.study.family import Family
from resources.files.storage import Storage


def source_of(family: Family, storage: Storage) -> Source:
    """Make the source that the field `source` of the family selects."""
    # Imported late: definitions load this module, and numpy is slow to import.
    from emergence_assets.checkpoints.sources.hub import HubSource
    from emergence_assets.checkpoints.sources.local import LocalSource
    from emergence_assets.checkpoints.sources.trained import TrainedSource
    from emergence_assets.checkpoints.sources.untrained import WithUntrained

    sources: dict[str, type[Source]] = {"hub": HubSource, "local": LocalSource, "trained-here": TrainedSource}
    source = sources[family.source](family, storage)
    return WithUntrained(source, storage, family.untrained_seed) if family.untrained else source


def source_arguments(family: Family, storage: Storage) -> dict[str, Any]:
    """Return plain values from which a worker makes the same source."""
    return {"family": family.model_dump(mode="json"), "data": str(storage.data), "study": storage.study}


def source_from(arguments: dict[str, Any]) -> Source:
    """Make the source of `source_arguments`."""
    family: Family = TypeAdapter(Family).validate_python(arguments["family"])
    return source_of(family, Storage(Path(arguments["data"]), arguments["study"]))
