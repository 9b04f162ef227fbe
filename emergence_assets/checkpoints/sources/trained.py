"""Source of the checkpoints of the training runs of the study."""

from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.sources.local import LocalSource
from emergence_assets.checkpoints.sources.settling import File
from emergence_assets.checkpoints.sources.source import CheckpointRef, Listing
from resources.errors import EmergenceError
from resources.files.storage import Storage


class TrainedSource(LocalSource):
    """A `Source` over `{root}/{model}/step{step}`; identities do not change when the data are moved or copied."""

    def __init__(self, _family: Any, storage: Storage):
        """Read nothing yet."""
        self.root, self.pattern = storage.training_root.absolute(), "{model}/step{step}"
        self.marker, self.settle_seconds, self.trusted = None, 0.0, frozenset()
        self._converted = None  # pickles are refused

    def list(self, model: str) -> Listing:
        """List the checkpoints that exist so far; see `Source.list`.

        Raises:
            EmergenceError: a checkpoint is damaged. It was written atomically, and can be trained again.
        """
        if not self.root.is_dir():
            return Listing(())
        listing = super().list(model)
        for step, reason in listing.incomplete.items():
            folder = self._folder(model, step)
            raise EmergenceError(
                f"A checkpoint that was trained here is damaged: {reason}.",
                where=folder,
                remedy=f"delete {folder.name} and run again: it is trained again, bit for bit on the same machine",
            )
        return listing

    def location(self, folder: Path) -> str:
        """Return a constant instead of the path, which changes when the data are moved."""
        return "training in this study"

    def lost(self, ref: CheckpointRef) -> bool:
        """Return False: a checkpoint that is gone is trained again."""
        return False

    def folder_of(self, ref: CheckpointRef) -> Path:
        """Return the folder of a listed checkpoint."""
        return self._folder(ref.model, ref.step)

    def identifying(self, file: File) -> tuple[str | int, ...]:
        """Return name, size and time of modification; the time of change differs in a copy."""
        return file[:3]

    def _folder(self, model: str, step: int) -> Path:
        return self.root / model / f"step{step}"
