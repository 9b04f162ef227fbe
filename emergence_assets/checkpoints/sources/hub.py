"""Checkpoints that are revisions of hub repositories: pinned once, fetched by commit, verified, cached."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from filelock import FileLock

from emergence_assets.checkpoints.sources.cache import CheckpointCache
from emergence_assets.checkpoints.sources.lock_file import (
    Lock,
    LockDifference,
    Pin,
    PinnedModel,
    difference,
    read_lock,
    write_lock,
)
from emergence_assets.checkpoints.sources.revision import RevisionPattern
from emergence_assets.checkpoints.sources.safety import refuse_unsafe
from emergence_assets.checkpoints.sources.source import CheckpointRef, Listing, Source
from emergence_assets.study.family import Hub
from resources.errors import BrokenCheckpoint, EmergenceError
from resources.files.atomic import clear_disk_errors
from resources.files.storage import Storage
from resources.hub.client import HubClient, HubFile
from resources.hub.pinned_file import PinnedFile, refuse_odd_file
from resources.progress import Report

NEEDED = ("config.json", "tokenizer.json")
WELCOME = ("tokenizer_config.json", "special_tokens_map.json")
LISTING_THREADS = 8
"""Requests at a time while revisions are pinned."""
_FORMATS = {
    "model.safetensors": re.compile(r"model[-_]([0-9]{1,9})-of-([0-9]{1,9})\.safetensors"),
    "pytorch_model.bin": re.compile(r"pytorch_model[-_]([0-9]{1,9})-of-([0-9]{1,9})\.bin"),
}
"""The file of each weight format, best first, and how its parts are called."""


class HubSource(Source):
    """A `Source` over revisions of repositories."""

    def __init__(
        self,
        repositories: Mapping[str, str],
        pattern: RevisionPattern,
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
            pattern: name of a step's revision.
            lock: path of the lock file.
            cache: where checkpoints are kept.
            trusted: models whose own code may be run, and is fetched; that of others is pinned only.
            offline: use lock and cache alone.
            client: of another hub than the usual one.
        """
        self.repositories, self.pattern, self.lock, self.cache = dict(repositories), pattern, lock, cache
        self.trusted, self.offline = frozenset(trusted), offline
        self._client = client or HubClient()
        self._now: dict[str, dict[str, str]] = {}

    @classmethod
    def of(cls, family: Hub, storage: Storage) -> "HubSource":
        """See `Source.of`."""
        return cls(
            {model: family.repository_of(model) for model in family.models},
            RevisionPattern(family.revision, family.step_offset),
            Path(family.lock) if family.lock else storage.checkpoint_lock_file(),
            CheckpointCache(storage.checkpoint_cache() / "hub", int(family.cache_bytes)),
            trusted=family.trust_remote_code,
            offline=family.is_offline,
        )

    @property
    def lock_file(self) -> Path:
        """File with the pins."""
        return self.lock

    @property
    def can_refresh(self) -> bool:
        """Whether the hub may be asked."""
        return not self.offline

    def is_pinned(self, model: str) -> bool:
        """Whether the lock has revisions of the model that fit the study file."""
        return bool(self._pins(model))

    def list(self, model: str) -> Listing:
        """Pinned revisions; no network. See `Source.list`.

        Raises:
            EmergenceError: the lock cannot be read.
        """
        found, incomplete = [], {}
        for pin in self._pins(model):
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

    def refresh(
        self, models: Sequence[str] | None = None, *, accept_moved: bool = False, retry_seconds: float | None = None
    ) -> LockDifference:
        """Pin revisions that are new, and on request those that moved; the others keep their pins.

        A revision that was no checkpoint yet, because a file was missing, is pinned again when its branch moves. One
        request per model for its branches and tags, and one for each revision that is pinned.

        Args:
            models: by default all.
            accept_moved: also pin the new commit of branches that moved, and remove those that are gone.
            retry_seconds: see `HubClient`.

        Raises:
            EmergenceError: the hub does not answer, or must not be asked.
        """
        if self.offline:
            raise EmergenceError(
                "Revisions cannot be pinned offline.", where=self.lock, remedy="set family.offline to false"
            )
        if retry_seconds is not None:
            self._client.retry_seconds = retry_seconds
        total = LockDifference([], [], [])
        for model in models if models is not None else self.repositories:
            repository = self.repositories[model]
            revisions = self._client.revisions(repository)
            steps = self.pattern.steps(revisions, where=repository)
            if not steps:
                raise EmergenceError(
                    f"No branch or tag of {repository} is called like {self.pattern.pattern!r}.",
                    where=", ".join(sorted(revisions)[:5]) or "it has neither",
                    remedy="correct family.revision in the study file",
                )
            now = {step: (revision, revisions[revision]) for step, revision in steps.items()}
            old = self._pins(model)
            change = difference(model, old, now)
            total.added.extend(change.added)
            total.removed.extend(change.removed)
            total.moved.extend(change.moved)
            self._write(model, self._new_pins(repository, old, now, accept_moved))
        return total

    def verify(self, ref: CheckpointRef) -> str | None:
        """Compare the revision with its pin; see `Source.verify`. One request per repository."""
        if self.offline:
            return None
        if ref.location not in self._now:
            self._now[ref.location] = self._client.revisions(ref.location)
        now = self._now[ref.location].get(ref.revision)
        if now is None:
            return f"{ref.revision} is gone upstream; the pin {ref.commit_sha[:12]} is kept"
        if now != ref.commit_sha:
            return f"{ref.revision} moved upstream from {ref.commit_sha[:12]} to {now[:12]}; the pin is kept"
        return ""

    @contextmanager
    def fetch(self, ref: CheckpointRef, report: Report) -> Iterator[Path]:
        """The checkpoint from the cache, downloaded if it is not there; see `Source.fetch`."""
        pin, is_trusted = self._pin(ref), ref.model in self.trusted

        def fill(folder: Path) -> None:
            if self.offline:
                raise EmergenceError(
                    f"{ref.model} step {ref.step} is not in the cache, and the study is offline.",
                    where=self.cache.root,
                    remedy="set family.offline to false, or unset HF_HUB_OFFLINE",
                )
            for file in pin.others:
                if is_trusted or not file.name.endswith(".py"):
                    self._client.download(ref.location, ref.commit_sha, file, folder, report)
            refuse_unsafe(folder, trusted=is_trusted)  # before gigabytes are fetched in vain
            for file in pin.weights:
                self._client.download(ref.location, ref.commit_sha, file, folder, report)
            if not any(file.name.endswith(".safetensors") for file in pin.weights):
                from emergence_assets.checkpoints.models.conversion import convert_pickle

                report(0, 1, "converting pickled weights")
                convert_pickle(folder)

        # A pickle and what it is converted to are there at the same time for a moment.
        pickled = any(file.name.endswith(".bin") for file in pin.weights)
        n_bytes = sum(file.n_bytes for file in pin.others) + ref.weights_bytes * (2 if pickled else 1)
        with self.cache.hold(ref.identity, n_bytes, fill) as folder:
            refuse_unsafe(folder, trusted=is_trusted)  # it may have been fetched when the model was trusted
            yield folder

    def is_cached(self, ref: CheckpointRef) -> bool:
        """Whether the cache holds it."""
        return self.cache.contains(ref.identity)

    def evict(self, ref: CheckpointRef) -> int:
        """Remove it from the cache unless it is in use."""
        return self.cache.evict(ref.identity)

    def _pins(self, model: str) -> Sequence[Pin]:
        """Pins of a model in the repository and with the names that the study file states; others are ignored."""
        pins = read_lock(self.lock).pins(model, self.repositories[model])
        return [pin for pin in pins if self.pattern.step_of(pin.revision) == pin.step]

    def _pin(self, ref: CheckpointRef) -> Pin:
        for pin in read_lock(self.lock).pins(ref.model, ref.location):
            if (pin.step, pin.commit_sha, pin.identity) == (ref.step, ref.commit_sha, ref.identity):
                return pin
        raise EmergenceError(
            f"{ref.model} step {ref.step} is not pinned at {ref.commit_sha[:12]}.",
            where=self.lock,
            remedy="run again; the lock changed meanwhile",
        )

    def _new_pins(
        self, repository: str, old: Sequence[Pin], now: Mapping[int, tuple[str, str]], accept_moved: bool
    ) -> tuple[Pin, ...]:
        known = {pin.step: pin for pin in old}
        kept = {step: pin for step, pin in known.items() if step in now or not accept_moved}
        ask = [
            (step, revision, sha)
            for step, (revision, sha) in now.items()
            if step not in known or ((accept_moved or known[step].problem) and known[step].commit_sha != sha)
        ]

        def pin(asked: tuple[int, str, str]) -> Pin:
            step, revision, sha = asked
            return _pin_of(step, revision, sha, self._client.files(repository, sha))

        with ThreadPoolExecutor(LISTING_THREADS) as threads:
            kept |= {found.step: found for found in threads.map(pin, ask)}
        return tuple(kept[step] for step in sorted(kept))

    def _write(self, model: str, pins: tuple[Pin, ...]) -> None:
        with clear_disk_errors(self.lock):
            self.lock.parent.mkdir(parents=True, exist_ok=True)
        with clear_disk_errors(self.lock), FileLock(self.lock.with_name(f".{self.lock.name}.lock")):
            lock = read_lock(self.lock)
            new = Lock({**lock.models, model: PinnedModel(self.repositories[model], pins)})
            if new != lock:
                write_lock(self.lock, new)


def _pin_of(step: int, revision: str, commit_sha: str, files: Sequence[HubFile]) -> Pin:
    """Choose one weight format and what belongs to it; what is missing or odd is the pin's problem."""
    listed = {file.name: file for file in files}
    weights, problem = _weights(listed)
    indexes = [f"{single}.index.json" for single in _FORMATS]
    others = [name for name in (*NEEDED, *WELCOME) if name in listed]
    others += [name for name in indexes if name in listed and weights and _belongs(name, weights)]
    others += sorted(name for name in listed if name.endswith(".py") and name.removesuffix(".py").isidentifier())
    if missing := [name for name in NEEDED if name not in listed]:
        problem = f"{missing[0]} is missing"
    if paths := [name for name in listed if "/" in name]:
        problem = f"unsafe file name {paths[0][:80]!r}"  # of a hub that lists no folders, or of one that means harm
    try:
        pinned = [_pinned(listed[name]) for name in (*weights, *others)]
    except BrokenCheckpoint as error:
        return Pin(step, revision, commit_sha, error.what, (), ())
    return Pin(step, revision, commit_sha, problem, tuple(pinned[: len(weights)]), tuple(pinned[len(weights) :]))


def _weights(listed: Collection[str]) -> tuple[list[str], str]:
    """Names of the weights files of the best format that is whole, one file before parts; or why there are none."""
    problem = ""
    for single, part in _FORMATS.items():
        if single in listed:
            return [single], ""
        if f"{single}.index.json" in listed:
            parts, missing = _parts(listed, part)
            if parts:
                return parts, ""
            problem = problem or (f"part {missing} of {single} is missing" if missing else "")
    return [], problem or "model.safetensors is missing, and so is pytorch_model.bin"


def _parts(listed: Collection[str], part: re.Pattern[str]) -> tuple[list[str], str]:
    """Names of the parts of every set that is whole; if none is, which part is missing, as in `2 of 3`."""
    sets: dict[str, dict[int, str]] = {}
    for name in sorted(listed):
        if match := part.fullmatch(name):
            sets.setdefault(match[2], {})[int(match[1])] = name
    whole = [name for total, names in sets.items() if len(names) == int(total) for name in names.values()]
    missing = [
        f"{next(number for number in count(1) if number not in names)} of {int(total)}" for total, names in sets.items()
    ]
    return sorted(whole), "" if whole or not missing else missing[0]


def _belongs(index: str, weights: Sequence[str]) -> bool:
    """Whether an index is that of the chosen files."""
    single = index.removesuffix(".index.json")
    return single not in weights and Path(single).suffix == Path(weights[0]).suffix


def _pinned(file: HubFile) -> PinnedFile:
    pinned = PinnedFile(file.name, file.n_bytes, file.sha256, "" if file.sha256 else file.blob_id)
    refuse_odd_file(pinned)
    return pinned
