"""Interface of a source of checkpoints: a hub, a folder, or the training runs of the study."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from emergence_assets.checkpoints.sources.lock_file import LockDifference
from emergence_assets.plan.timeline import TimelineEntry
from resources.errors import EmergenceError
from resources.files.storage import Storage
from resources.progress import Report


@dataclass(frozen=True)
class CheckpointRef:
    """Reference to a checkpoint of a source; plain values, so that it can be sent to a worker."""

    model: str
    step: int
    revision: str
    """Name of the checkpoint at the source: a branch such as `step512`, or the name of a folder."""
    location: str
    """`owner/name` of a repository, absolute path of a folder, or `training in this study`."""
    commit_sha: str
    """Commit that the revision is pinned to; empty if the source has no commits."""
    identity: str
    """32 hexadecimal digits that change with any file of the checkpoint; known without reading the weights."""
    weights_bytes: int
    """Size of the weights files."""
    weights_sha256: str = ""
    """Hash of the weights as published by the source, comparable between steps; empty if not published."""


@dataclass(frozen=True)
class Listing:
    """Checkpoints of one model at a source."""

    checkpoints: tuple[CheckpointRef, ...]
    """Complete checkpoints, sorted by step."""
    incomplete: Mapping[int, str] = field(default_factory=dict)
    """Step to the reason why its checkpoint is incomplete, such as a missing file."""
    found_instead: str = ""
    """Where nothing fits the pattern of the study file: the place and what it holds; otherwise empty."""


class Source(ABC):
    """A source of checkpoints; a subclass is registered in `of_family.source_of`."""

    trusted: Collection[str] = frozenset()
    """Models whose own code may be run."""

    can_refresh: bool = False
    """Whether `refresh` may be called now."""

    @property
    def lock_file(self) -> Path | None:
        """Lock file with the pins; None if the source has no commits."""
        return None

    @abstractmethod
    def __init__(self, family: Any, storage: Storage):
        """Make the source of a family of the study file; nothing is read or requested yet."""

    @abstractmethod
    def list(self, model: str) -> Listing:
        """List the checkpoints of a model, without reading weights.

        Raises:
            EmergenceError: the source cannot be read.
        """

    def lost(self, ref: CheckpointRef) -> bool:
        """Return whether a checkpoint that is no longer listed was lost; False if it was removed on purpose.

        What was made from a lost checkpoint still counts.
        """
        return False

    @abstractmethod
    def config_hash(self, ref: CheckpointRef) -> str:
        """Return a hash of the config of a checkpoint, known without fetching it.

        Raises:
            EmergenceError: the config cannot be read, or the checkpoint is not pinned.
        """

    @abstractmethod
    def verify(self, ref: CheckpointRef) -> str | None:
        """Compare a checkpoint at the source with its listing.

        Returns:
            Description of the change, such as a moved branch or altered files; empty without a change, None offline.

        Raises:
            EmergenceError: the source does not answer.
        """

    @abstractmethod
    def fetch(self, ref: CheckpointRef, report: Report) -> AbstractContextManager[Path]:
        """Fetch a checkpoint and yield its folder in Hugging Face layout: weights as safetensors, hashes verified.

        The folder exists as long as the context is open.

        Raises:
            EmergenceError: the checkpoint is not available, differs from its pin, or holds code that would be run.
        """

    def fetch_ahead(self, ref: CheckpointRef, report: Report) -> None:  # noqa: B027
        """Bring a checkpoint to this machine for a later `fetch`, if there is room for it now.

        Nothing needs to be done for a source on this machine.

        Raises:
            EmergenceError: as `fetch`; or the cache is full of checkpoints in use.
        """

    @abstractmethod
    def is_cached(self, ref: CheckpointRef) -> bool:
        """Return whether the checkpoint can be fetched without network and without conversion."""

    def load(
        self, ref: CheckpointRef, folder: Path, device: "str | torch.device", dtype: "torch.dtype"
    ) -> "PreTrainedModel":
        """Load the model of a fetched folder, in evaluation mode.

        Raises:
            EmergenceError: transformers cannot load the folder.
        """
        from emergence_assets.checkpoints.models.loading import load_model

        return load_model(folder, device, dtype, trusted=ref.model in self.trusted)

    def is_pinned(self, _model: str) -> bool:
        """Return whether revisions of the model are pinned to commits; True for a source without commits."""
        return True

    def refresh(
        self, models: Sequence[str], *, accept_moved: bool = False, retry_seconds: float | None = None
    ) -> "LockDifference":
        """Pin new revisions of models to their commits.

        Args:
            models: models to pin.
            accept_moved: also pin the new commit of branches that moved, and remove pins of deleted branches.
            retry_seconds: retry timeout in seconds; by default that of the client.

        Raises:
            EmergenceError: the source has no commits, does not answer, or is offline.
        """
        raise EmergenceError(
            "The checkpoints of this family have no commits: there is nothing to pin.",
            where=", ".join(models),
            remedy="lock files belong to families with source: hub",
        )


def reference(model: str, entry: TimelineEntry | None) -> CheckpointRef | None:
    """Return the reference of a timeline entry's checkpoint; None if the entry has no checkpoint."""
    if entry is None or not entry.identity:
        return None
    values = {part.name: getattr(entry, part.name) for part in fields(CheckpointRef) if part.name != "model"}
    return CheckpointRef(model, **values)
