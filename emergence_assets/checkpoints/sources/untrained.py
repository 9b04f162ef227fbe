"""Source that adds an untrained step 0 to models whose source has none.

Its weights are those that the library gives the architecture of the config before any training, from a seed of the
study file. They are not the weights from which the training began, which nobody kept.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from emergence_assets.checkpoints.sources.cache import CheckpointCache
from emergence_assets.checkpoints.sources.lock_file import LockDifference
from emergence_assets.checkpoints.sources.source import CheckpointRef, Listing, Source
from emergence_assets.plan.timeline import MADE_HERE
from resources.errors import EmergenceError
from resources.files.storage import Storage
from resources.progress import Report


class WithUntrained(Source):
    """A `Source` with the checkpoints of another source, and a step 0 where that has none.

    Args:
        source: the source of the trained checkpoints.
        storage: place of the cache.
        seed: seed of the weights.
    """

    def __init__(self, source: Source, storage: Storage, seed: int):
        self.source, self.seed = source, seed
        self.trusted, self.can_refresh = source.trusted, source.can_refresh
        self._made = CheckpointCache(storage.checkpoint_cache() / "untrained", sys.maxsize)

    @property
    def lock_file(self) -> Path | None:
        """Lock file of the other source."""
        return self.source.lock_file

    def list(self, model: str) -> Listing:
        """List the checkpoints of a model; see `Source.list`."""
        listing = self.source.list(model)
        if not listing.checkpoints or 0 in {listing.checkpoints[0].step, *listing.incomplete}:
            return listing
        first = listing.checkpoints[0]
        made_from = ["untrained", model, self.source.config_hash(first), self.seed]
        identity = sha256(json.dumps(made_from).encode()).hexdigest()[:32]
        revision = f"random weights, seed {self.seed}"
        made = CheckpointRef(model, 0, revision, MADE_HERE, "", identity, first.weights_bytes)
        return replace(listing, checkpoints=(made, *listing.checkpoints))

    def lost(self, ref: CheckpointRef) -> bool:
        """Return whether a trained checkpoint was lost; see `Source.lost`. An untrained one is made again."""
        return ref.location != MADE_HERE and self.source.lost(ref)

    def verify(self, ref: CheckpointRef) -> str | None:
        """Compare a trained checkpoint with its listing; see `Source.verify`."""
        return "" if ref.location == MADE_HERE else self.source.verify(ref)

    @contextlib.contextmanager
    def fetch(self, ref: CheckpointRef, report: Report) -> Iterator[Path]:
        """Yield the folder of a checkpoint; the untrained one is made from the first trained one and kept."""
        if ref.location != MADE_HERE:
            with self.source.fetch(ref, report) as folder:
                yield folder
            return

        def fill(folder: Path) -> None:
            from emergence_assets.checkpoints.models.untrained import write_untrained

            listed = self.source.list(ref.model).checkpoints
            if not listed or self.list(ref.model).checkpoints[0].identity != ref.identity:
                raise EmergenceError(
                    f"The config that the untrained step 0 of {ref.model} is made from is not there any more.",
                    where=listed[0].location if listed else ref.model,
                    remedy="restore a checkpoint of the model, or run again",
                )
            report(0, 1, "making the untrained step 0")
            with self.source.fetch(listed[0], report) as trained:
                write_untrained(trained, folder, self.seed, trusted=ref.model in self.trusted)

        with self._made.hold(ref.identity, 2 * ref.weights_bytes, fill) as folder:
            yield folder

    def fetch_ahead(self, ref: CheckpointRef, report: Report) -> None:
        """Bring a trained checkpoint to this machine; see `Source.fetch_ahead`."""
        if ref.location != MADE_HERE:
            self.source.fetch_ahead(ref, report)

    def is_cached(self, ref: CheckpointRef) -> bool:
        """Return whether the checkpoint is there without network, conversion or making it; see `Source.is_cached`."""
        if ref.location == MADE_HERE:
            return self._made.contains(ref.identity)
        return self.source.is_cached(ref)

    def config_hash(self, ref: CheckpointRef) -> str:
        """Return the hash of the config; see `Source.config_hash`."""
        return self.source.config_hash(ref)

    def is_pinned(self, model: str) -> bool:
        """Return whether the revisions of the model are pinned; see `Source.is_pinned`."""
        return self.source.is_pinned(model)

    def refresh(
        self, models: Sequence[str], *, accept_moved: bool = False, retry_seconds: float | None = None
    ) -> LockDifference:
        """Pin new revisions of models; see `Source.refresh`."""
        return self.source.refresh(models, accept_moved=accept_moved, retry_seconds=retry_seconds)
