"""Where checkpoints come from, as one small interface: a hub, a folder, or the project's own training runs."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel
from typing import TYPE_CHECKING

from emergence_assets.plan.timeline import Timeline
from resources.progress import Report


@dataclass(frozen=True)
class CheckpointRef:
    """One checkpoint that a source offers; plain values, so that it can be handed to a worker."""

    model: str
    step: int
    revision: str
    """Its name at the source: a branch such as `step512`, or the folder's name."""
    location: str
    """Where exactly: `owner/name` of a repository, or the folder's absolute path."""
    commit_sha: str
    """Commit that the revision is pinned to; empty where there are no commits."""
    identity: str
    """32 hexadecimal digits that change whenever a file of the checkpoint does; known without reading the weights."""
    weights_bytes: int
    """Size of the weights files."""
    weights_sha256: str = ""
    """Hash of the weights as the source states it, comparable between steps; empty where it states none."""


@dataclass(frozen=True)
class Listing:
    """What a source offers of one model."""

    checkpoints: tuple[CheckpointRef, ...]
    """Whole ones, by step."""
    incomplete: Mapping[int, str] = field(default_factory=dict)
    """Step to the reason why it does not count: still being written, a file is missing."""


class Source(Protocol):
    """A place that checkpoints come from."""

    def list(self, model: str) -> Listing:
        """What there is of a model, without reading weights.

        Raises:
            EmergenceError: the source cannot be read at all.
        """
        ...

    def verify(self, ref: CheckpointRef) -> str | None:
        """What is wrong with a pinned checkpoint, in words: moved upstream, files altered; empty when nothing is.

        None when nobody was asked, because the source is to be left alone.

        Raises:
            EmergenceError: the source cannot be asked.
        """
        ...

    def fetch(self, ref: CheckpointRef, report: Report) -> AbstractContextManager[Path]:
        """Folder with the checkpoint in Hugging Face layout, weights as safetensors, hashes verified.

        The folder stays as long as the context is open.

        Raises:
            EmergenceError: it cannot be had, is not what was pinned, or holds what would run code when loaded.
        """
        ...

    def load(self, folder: Path, device: "str | torch.device", dtype: "torch.dtype") -> "PreTrainedModel":
        """The model of a fetched folder, in evaluation mode.

        Raises:
            EmergenceError: transformers cannot load it.
        """
        ...

    def is_cached(self, ref: CheckpointRef) -> bool:
        """Whether fetching it needs no network and no conversion."""
        ...

    def evict(self, ref: CheckpointRef) -> int:
        """Remove the local copy if the source can give it again and nobody uses it; returns the bytes freed."""
        ...


def reference(axis: Timeline, model: str, step: int) -> CheckpointRef | None:
    """The checkpoint of a step as its source knows it; None when there is none."""
    entry = axis.entry(step)
    if entry is None or not entry.identity:
        return None
    return CheckpointRef(
        model,
        step,
        entry.revision,
        entry.location,
        entry.commit_sha,
        entry.identity,
        entry.weights_bytes,
        entry.weights_sha256,
    )
