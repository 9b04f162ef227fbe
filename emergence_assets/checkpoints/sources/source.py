"""The interface of a source of checkpoints: a hub, a folder, or the training runs of the study."""

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
    """One checkpoint that a source offers; plain values, so that it can be sent to a worker."""

    model: str
    step: int
    revision: str
    """Its name at the source: a branch such as `step512`, or the folder's name."""
    location: str
    """`owner/name` of a repository, absolute path of a folder, or `training in this study`."""
    commit_sha: str
    """Commit that the revision is pinned to; empty where there are no commits."""
    identity: str
    """32 hexadecimal digits that change with every file of the checkpoint; known without reading the weights."""
    weights_bytes: int
    """Size of the weights files."""
    weights_sha256: str = ""
    """Hash of the weights as the source states it, comparable between steps; empty where it states none."""


@dataclass(frozen=True)
class Listing:
    """Checkpoints that a source offers of one model."""

    checkpoints: tuple[CheckpointRef, ...]
    """Complete ones, by step."""
    incomplete: Mapping[int, str] = field(default_factory=dict)
    """Step to the reason why it is left out: still being written, a file is missing."""


class Source(ABC):
    """A source of checkpoints; a subclass is registered in `of_family.source_of`."""

    trusted: Collection[str] = frozenset()
    """Models whose own code may be run."""

    @property
    def lock_file(self) -> Path | None:
        """File with the pins, where the source has commits."""
        return None

    @property
    def can_refresh(self) -> bool:
        """Whether `refresh` may be called now."""
        return False

    @classmethod
    @abstractmethod
    def of(cls, family: Any, storage: Storage) -> "Source":
        """The source of a family of the study file; nothing is read or requested yet."""

    @abstractmethod
    def list(self, model: str) -> Listing:
        """Checkpoints of a model, without reading weights.

        Raises:
            EmergenceError: the source cannot be read at all.
        """

    @abstractmethod
    def verify(self, ref: CheckpointRef) -> str | None:
        """What changed at the source since the checkpoint was listed: moved upstream, files altered; empty if nothing.

        None when the source must not be asked.

        Raises:
            EmergenceError: the source cannot be asked.
        """

    @abstractmethod
    def fetch(self, ref: CheckpointRef, report: Report) -> AbstractContextManager[Path]:
        """Folder with the checkpoint in Hugging Face layout, weights as safetensors, hashes verified.

        The folder stays as long as the context is open.

        Raises:
            EmergenceError: it is not available, differs from its pin, or holds code that would run when it is loaded.
        """

    @abstractmethod
    def is_cached(self, ref: CheckpointRef) -> bool:
        """Whether fetching it needs no network and no conversion."""

    @abstractmethod
    def evict(self, ref: CheckpointRef) -> int:
        """Remove the local copy if the source can give it again and nobody uses it; returns the bytes freed."""

    def load(
        self, ref: CheckpointRef, folder: Path, device: "str | torch.device", dtype: "torch.dtype"
    ) -> "PreTrainedModel":
        """The model of a fetched folder, in evaluation mode.

        Raises:
            EmergenceError: transformers cannot load it.
        """
        from emergence_assets.checkpoints.models.loading import load_model

        return load_model(folder, device, dtype, trusted=ref.model in self.trusted)

    def is_pinned(self, _model: str) -> bool:
        """Whether revisions of the model are pinned to commits, where the source has commits."""
        return True

    def refresh(
        self, models: Sequence[str], *, accept_moved: bool = False, retry_seconds: float | None = None
    ) -> "LockDifference":
        """Pin new revisions of models to their commits.

        Args:
            models: whose revisions.
            accept_moved: also pin the new commit of branches that moved, and remove those that are gone.
            retry_seconds: time-out of repeated requests; by default that of the client.

        Raises:
            EmergenceError: the source has no commits, does not answer, or must not be asked.
        """
        raise EmergenceError(
            "The checkpoints of this family have no commits: there is nothing to pin.",
            where=", ".join(models),
            remedy="lock files belong to families with source: hub",
        )


def reference(model: str, entry: TimelineEntry | None) -> CheckpointRef | None:
    """The checkpoint of a timeline entry as its source lists it; None when there is none."""
    if entry is None or not entry.identity:
        return None
    stated = {one.name: getattr(entry, one.name) for one in fields(CheckpointRef) if one.name != "model"}
    return CheckpointRef(model, **stated)
