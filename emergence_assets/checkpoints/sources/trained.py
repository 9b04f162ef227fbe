"""Checkpoints of the training runs of the study."""

from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.sources.local import File, LocalSource
from emergence_assets.checkpoints.sources.source import CheckpointRef, Listing
from resources.errors import EmergenceError
from resources.files.storage import Storage


class TrainedSource(LocalSource):
    """A `Source` over `{root}/{model}/step{step}`, with the same identities after the data were moved or copied."""

    def __init__(self, root: Path):
        """Nothing is read yet."""
        super().__init__(root, settle_seconds=0.0)

    @classmethod
    def of(cls, family: Any, storage: Storage) -> "TrainedSource":
        """See `Source.of`."""
        return cls(storage.training_root)

    def list(self, model: str) -> Listing:
        """Checkpoints that were trained so far; see `Source.list`.

        Raises:
            EmergenceError: a checkpoint is damaged. It was written whole, and can be trained again.
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
        """Not the path, which changes when the data are moved."""
        return "training in this study"

    def folder_of(self, ref: CheckpointRef) -> Path:
        """Folder of a listed checkpoint."""
        return self._folder(ref.model, ref.step)

    def identifying(self, file: File) -> tuple[str | int, ...]:
        """Name, size and time of modification; a copy has another inode and another time of change."""
        return file[:3]

    def _folder(self, model: str, step: int) -> Path:
        return self.root / model / f"step{step}"
