"""Checkpoints that are revisions of hub repositories: pinned once, fetched by commit, verified, cached.

Belongs here: what is pinned and fetched. Does not belong here: the wire (`hub_client.py`), the room (`cache.py`).
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from emergence_assets.checkpoints.sources.cache import CheckpointCache
from emergence_assets.checkpoints.sources.hub_client import HubClient, HubFile
from emergence_assets.checkpoints.sources.lock_file import (
    SHA1,
    SHA256,
    Lock,
    LockDifference,
    Pin,
    PinnedFile,
    difference,
    read_lock,
    write_lock,
)
from emergence_assets.checkpoints.sources.revision import RevisionPattern
from emergence_assets.checkpoints.sources.safety import refuse_unsafe, refuse_unsafe_name
from emergence_assets.checkpoints.sources.source import CheckpointRef, Listing, Report
from emergence_assets.errors import BrokenCheckpoint, EmergenceError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

NEEDED = ("config.json", "tokenizer.json")
WELCOME = ("tokenizer_config.json", "special_tokens_map.json")
LISTING_THREADS = 8
"""Requests at a time while revisions are pinned."""
_SHARD = {
    "safetensors": re.compile(r"model-\d+-of-\d+\.safetensors"),
    "bin": re.compile(r"pytorch_model-\d+-of-\d+\.bin"),
}


class HubSource:
    """A `Source` over revisions of repositories."""

    def __init__(
        self,
        repositories: Mapping[str, str],
        pattern: str,
        lock: Path,
        cache: CheckpointCache,
        *,
        trusted: Collection[str] = (),
        offline: bool = False,
        client: HubClient | None = None,
    ):
        """Nothing is asked or read yet.

        Args:
            repositories: model to repository.
            pattern: name of a step's revision; see `RevisionPattern`.
            lock: path of the lock file.
            cache: where checkpoints are kept.
            trusted: models whose own code may be run, and is fetched.
            offline: use lock and cache alone.
            client: of another hub than the usual one.
        """
        self.repositories, self.pattern, self.lock, self.cache = (
            dict(repositories),
            RevisionPattern(pattern),
            lock,
            cache,
        )
        self.trusted, self.offline = frozenset(trusted), offline
        self._client = client or HubClient()
        self._now: dict[str, dict[str, str]] = {}

    def is_pinned(self, model: str) -> bool:
        """Whether the lock knows the model, in the repository that the study names."""
        lock = read_lock(self.lock)
        return lock is not None and lock.repositories.get(model) == self.repositories[model]

    def list(self, model: str) -> Listing:
        """What the lock says; no network. See `Source.list`.

        Raises:
            EmergenceError: the lock cannot be read.
        """
        lock = read_lock(self.lock) or Lock()
        if lock.repositories.get(model) != self.repositories[model]:
            return Listing(())
        found, incomplete = [], {}
        for pin in lock.pins[model]:
            if pin.problem:
                incomplete[pin.step] = pin.problem
                continue
            n_bytes = sum(file.n_bytes for file in pin.weights)
            found.append(
                CheckpointRef(
                    model,
                    pin.step,
                    pin.revision,
                    self.repositories[model],
                    pin.commit_sha,
                    pin.identity,
                    n_bytes,
                    pin.weights_sha256,
                )
            )
        return Listing(tuple(found), incomplete)

    def refresh(self, models: Sequence[str] | None = None, accept_moved: bool = False) -> LockDifference:
        """Pin revisions that are new, and on request those that moved; the others keep their pins.

        One request per model for the branches, and one for each revision that is pinned.

        Args:
            models: by default all.
            accept_moved: take the new commit of branches that moved, and forget those that are gone.

        Raises:
            EmergenceError: the hub does not answer, or it is to be left alone.
        """
        if self.offline:
            raise EmergenceError(
                "Revisions cannot be pinned offline.", where=self.lock, remedy="set family.offline to false"
            )
        changes: list[LockDifference] = []
        for model in models if models is not None else self.repositories:
            repository = self.repositories[model]
            branches = self._client.branches(repository)
            steps = self.pattern.steps(branches, where=repository)
            if not steps:
                raise EmergenceError(
                    f"No branch of {repository} is called like {self.pattern.pattern!r}.",
                    where=", ".join(sorted(branches)[:5]) or "it has no branches",
                    remedy="correct family.revision in the study file",
                )
            now = {step: (revision, branches[revision]) for step, revision in steps.items()}
            lock = read_lock(self.lock) or Lock()
            old = lock.pins.get(model, ()) if lock.repositories.get(model) == repository else ()
            changes.append(difference(model, old, now))
            self._write(model, self._pins(repository, model in self.trusted, old, now, accept_moved))
        return LockDifference(
            tuple(line for change in changes for line in change.added),
            tuple(line for change in changes for line in change.removed),
            tuple(line for change in changes for line in change.moved),
        )

    def verify(self, ref: CheckpointRef) -> str:
        """Whether the branch is still at its pin; see `Source.verify`. One request per model and source."""
        if self.offline:
            return ""
        if ref.location not in self._now:
            self._now[ref.location] = self._client.branches(ref.location)
        now = self._now[ref.location].get(ref.revision)
        if now is None:
            return f"its branch {ref.revision} is gone upstream; the pin {ref.commit_sha[:12]} is kept"
        if now != ref.commit_sha:
            return f"its branch {ref.revision} moved upstream from {ref.commit_sha[:12]} to {now[:12]}; the pin is kept"
        return ""

    @contextmanager
    def fetch(self, ref: CheckpointRef, report: Report) -> Iterator[Path]:
        """The checkpoint from the cache, downloaded if it is not there; see `Source.fetch`."""
        pin = self._pin(ref)

        def fill(folder: Path) -> None:
            if self.offline:
                raise EmergenceError(
                    f"{ref.model} step {ref.step} is not in the cache, and the study is offline.",
                    where=self.cache.root,
                    remedy="set family.offline to false, or unset HF_HUB_OFFLINE",
                )
            for file in pin.files:
                self._client.download(ref.location, ref.commit_sha, file, folder, report)
            refuse_unsafe(folder, trusted=ref.model in self.trusted)
            if not any(file.name.endswith(".safetensors") for file in pin.weights):
                from emergence_assets.checkpoints.sources.conversion import convert_pickle

                report(0, 1, "converting pickled weights")
                convert_pickle(folder)

        # A pickle and what it is converted to are there at the same time for a moment.
        pickled = any(file.name.endswith(".bin") for file in pin.weights)
        n_bytes = sum(file.n_bytes for file in pin.others) + ref.weights_bytes * (2 if pickled else 1)
        with self.cache.hold(ref.identity, n_bytes, fill) as folder:
            yield folder

    def load(self, folder: Path, device: "str | torch.device", dtype: "torch.dtype") -> "PreTrainedModel":
        """The model of a fetched folder; see `Source.load`."""
        from emergence_assets.checkpoints.loading import load_model

        return load_model(folder, device, dtype, trusted=bool(self.trusted))

    def is_cached(self, ref: CheckpointRef) -> bool:
        """Whether the cache holds it."""
        return self.cache.contains(ref.identity)

    def evict(self, ref: CheckpointRef) -> int:
        """Remove it from the cache unless it is in use."""
        return self.cache.evict(ref.identity)

    def _pin(self, ref: CheckpointRef) -> Pin:
        lock = read_lock(self.lock) or Lock()
        for pin in lock.pins.get(ref.model, ()):
            if pin.commit_sha == ref.commit_sha and pin.step == ref.step:
                return pin
        raise EmergenceError(
            f"{ref.model} step {ref.step} is not pinned at {ref.commit_sha[:12]}.",
            where=self.lock,
            remedy="run again; the lock changed meanwhile",
        )

    def _pins(
        self,
        repository: str,
        trusted: bool,
        old: Sequence[Pin],
        now: Mapping[int, tuple[str, str]],
        accept_moved: bool,
    ) -> "Sequence[Pin]":
        known = {pin.step: pin for pin in old}
        kept = {step: pin for step, pin in known.items() if step in now or not accept_moved}
        ask = [
            (step, revision, sha)
            for step, (revision, sha) in now.items()
            if step not in known or (accept_moved and known[step].commit_sha != sha)
        ]

        def pin(asked: tuple[int, str, str]) -> Pin:
            step, revision, sha = asked
            return _pin_of(step, revision, sha, self._client.files(repository, sha), trusted)

        with ThreadPoolExecutor(LISTING_THREADS) as threads:
            kept |= {found.step: found for found in threads.map(pin, ask)}
        return [kept[step] for step in sorted(kept)]

    def _write(self, model: str, pins: Sequence[Pin]) -> None:
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.lock.with_name(f".{self.lock.name}.lock")):
            lock = read_lock(self.lock) or Lock()
            repositories = dict(lock.repositories) | {model: self.repositories[model]}
            new = Lock(repositories, dict(lock.pins) | {model: tuple(pins)})
            if new != lock:
                write_lock(self.lock, new)


def _pin_of(step: int, revision: str, commit_sha: str, files: Sequence[HubFile], trusted: bool) -> Pin:
    """Choose one weight format and what belongs to it; what is missing or odd is the pin's problem."""
    listed = {file.name: file for file in files}
    weights = _weights(listed)
    indexes = [f"{stem}.index.json" for stem in ("model.safetensors", "pytorch_model.bin")]
    others = [name for name in (*NEEDED, *WELCOME) if name in listed]
    others += [name for name in indexes if name in listed and len(weights) > 0 and _belongs(name, weights)]
    others += sorted(name for name in listed if name.endswith(".py")) if trusted else []
    problem = ""
    if missing := [name for name in NEEDED if name not in listed]:
        problem = f"{missing[0]} is missing"
    elif not weights:
        problem = "model.safetensors is missing, and so is pytorch_model.bin"
    try:
        pinned = [_pinned(listed[name]) for name in (*weights, *others)]
    except BrokenCheckpoint as error:
        return Pin(step, revision, commit_sha, (), (), error.what)
    return Pin(step, revision, commit_sha, tuple(pinned[: len(weights)]), tuple(pinned[len(weights) :]), problem)


def _weights(listed: Mapping[str, HubFile]) -> list[str]:
    """Names of the weights files of the best format: safetensors first, whole before parts."""
    for single, kind in (("model.safetensors", "safetensors"), ("pytorch_model.bin", "bin")):
        if single in listed:
            return [single]
        shards = sorted(name for name in listed if _SHARD[kind].fullmatch(name))
        if f"{single}.index.json" in listed and shards:
            return shards
    return []


def _belongs(index: str, weights: Sequence[str]) -> bool:
    """Whether an index is that of the chosen files."""
    single = index.removesuffix(".index.json")
    return single not in weights and Path(single).suffix == Path(weights[0]).suffix


def _pinned(file: HubFile) -> PinnedFile:
    refuse_unsafe_name(file.name)
    if not (SHA256.fullmatch(file.sha256) if file.sha256 else SHA1.fullmatch(file.blob_id)):
        raise BrokenCheckpoint(f"the hub states no hash of {file.name}", where=file.name)
    return PinnedFile(file.name, file.n_bytes, file.sha256, "" if file.sha256 else file.blob_id)
