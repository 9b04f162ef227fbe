"""Source of checkpoints that are revisions of hub repositories: pinned, fetched by commit, verified, cached."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

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
from resources.files.lease import leased
from resources.files.storage import Storage, path_of
from resources.hub.client import HubClient
from resources.hub.pinned_file import PinnedFile, refuse_odd_file
from resources.progress import Report

NEEDED = ("config.json", "tokenizer.json")
WELCOME = ("tokenizer_config.json", "special_tokens_map.json")
LISTING_THREADS = 8
"""Parallel requests while revisions are pinned."""
_FORMATS = {
    "model.safetensors": re.compile(r"model[-_]([0-9]{1,9})-of-([0-9]{1,9})\.safetensors"),
    "pytorch_model.bin": re.compile(r"pytorch_model[-_]([0-9]{1,9})-of-([0-9]{1,9})\.bin"),
}
"""Maps the file of each weight format, preferred format first, to the names of its parts."""


class HubSource(Source):
    """A `Source` over revisions of repositories."""

    def __init__(self, family: Hub, storage: Storage, client: HubClient | None = None):
        """Read and request nothing yet; `client` is by default that of the usual hub."""
        self.repositories = {model: family.repository_of(model) for model in family.models}
        self.pattern = RevisionPattern(family.revision, family.step_offset)
        self.lock = path_of(family.lock) if family.lock else storage.checkpoint_lock_file()
        self.cache = CheckpointCache(storage.checkpoint_cache() / "hub", int(family.cache_bytes))
        self.trusted, self.can_refresh = frozenset(family.trust_remote_code), not family.is_offline
        self._client = client or HubClient()
        self._now: dict[str, dict[str, str]] = {}

    @property
    def lock_file(self) -> Path:
        """Lock file with the pins."""
        return self.lock

    def is_pinned(self, model: str) -> bool:
        """Return whether the lock file has revisions of the model that fit the study file."""
        return bool(self._pins(model))

    def list(self, model: str) -> Listing:
        """List the pinned revisions, without network. See `Source.list`.

        Raises:
            EmergenceError: the lock file cannot be read.
        """
        pins, repo = self._pins(model), self.repositories[model]
        sizes = {pin.step: sum(file.n_bytes for file in pin.weights) for pin in pins}
        found = [
            CheckpointRef(
                model, pin.step, pin.revision, repo, pin.commit_sha, pin.identity, sizes[pin.step], pin.weights_sha256
            )
            for pin in pins
            if not pin.problem
        ]
        nothing = "" if pins else f"{self.lock} has no revision of {repo}; `emergence checkpoints lock` pins them"
        return Listing(tuple(found), {pin.step: pin.problem for pin in pins if pin.problem}, nothing)

    def refresh(
        self, models: Sequence[str] | None = None, *, accept_moved: bool = False, retry_seconds: float | None = None
    ) -> LockDifference:
        """Pin new revisions, and with `accept_moved` also moved revisions; all others keep their pins.

        An incomplete revision, which lacks a file, is pinned again when its branch moves. Takes one request per model
        for branches and tags, and one request for each revision that is pinned.

        Args:
            models: models to pin; by default all.
            accept_moved: also pin the new commit of branches that moved, and remove pins of deleted branches.
            retry_seconds: see `HubClient`.

        Raises:
            EmergenceError: the hub does not answer, or the source is offline.
        """
        if not self.can_refresh:
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
                    f"No branch or tag of {repository} matches {self.pattern.pattern!r}.",
                    where=", ".join(sorted(revisions)[:5]) or "no branches or tags",
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

    def config_hash(self, ref: CheckpointRef) -> str:
        """Return the pinned hash of config.json; see `Source.config_hash`."""
        config = next(file for file in self._pin(ref).others if file.name == "config.json")
        return config.sha256 or config.blob_id

    def verify(self, ref: CheckpointRef) -> str | None:
        """Compare the revision with its pin; see `Source.verify`. One request per repository."""
        if not self.can_refresh:
            return None
        if ref.location not in self._now:
            self._now[ref.location] = self._client.revisions(ref.location)
        now = self._now[ref.location].get(ref.revision)
        if now is None:
            return f"{ref.revision} is gone upstream; the pin {ref.commit_sha[:12]} is kept"
        if now != ref.commit_sha:
            return f"{ref.revision} moved upstream from {ref.commit_sha[:12]} to {now[:12]}; the pin is kept"
        return ""

    def fetch(self, ref: CheckpointRef, report: Report) -> AbstractContextManager[Path]:
        """Yield the cached checkpoint, downloaded if necessary; see `Source.fetch`."""
        return self._held(ref, report)

    def fetch_ahead(self, ref: CheckpointRef, report: Report) -> None:
        """Download a checkpoint into the cache; see `Source.fetch_ahead`.

        Pickled weights are left: their conversion takes the memory of the checkpoint, beside the one that computes.
        """
        if not self.is_cached(ref) and not _is_pickled(self._pin(ref)):
            with self._held(ref, report, wait_seconds=0):
                pass

    @contextmanager
    def _held(self, ref: CheckpointRef, report: Report, wait_seconds: float | None = None) -> Iterator[Path]:
        pin, is_trusted = self._pin(ref), ref.model in self.trusted

        def fill(folder: Path) -> None:
            if not self.can_refresh:
                raise EmergenceError(
                    f"{ref.model} step {ref.step} is not in the cache, and the study is offline.",
                    where=self.cache.root,
                    remedy="set family.offline to false, or unset HF_HUB_OFFLINE",
                )
            for file in pin.others:
                if is_trusted or not file.name.endswith(".py"):
                    self._client.download(ref.location, ref.commit_sha, file, folder, report)
            refuse_unsafe(folder, trusted=is_trusted)  # before the large files are downloaded
            for file in pin.weights:
                self._client.download(ref.location, ref.commit_sha, file, folder, report)
            if _is_pickled(pin):
                from emergence_assets.checkpoints.models.conversion import convert_pickle

                report(0, 1, "converting pickled weights")
                convert_pickle(folder)

        # A pickle and its conversion take space at the same time.
        n_bytes = sum(file.n_bytes for file in pin.others) + ref.weights_bytes * (2 if _is_pickled(pin) else 1)
        with self.cache.hold(ref.identity, n_bytes, fill, wait_seconds) as folder:
            refuse_unsafe(folder, trusted=is_trusted)  # the model may have been trusted at the time of the download
            yield folder

    def is_cached(self, ref: CheckpointRef) -> bool:
        """Return whether the cache holds the checkpoint."""
        return self.cache.contains(ref.identity)

    def _pins(self, model: str) -> Sequence[Pin]:
        """Read the pins of a model that fit repository and revision pattern of the study file; others are ignored."""
        pins = read_lock(self.lock).pins(model, self.repositories[model])
        return [pin for pin in pins if self.pattern.step_of(pin.revision) == pin.step]

    def _pin(self, ref: CheckpointRef) -> Pin:
        for pin in read_lock(self.lock).pins(ref.model, ref.location):
            if (pin.step, pin.commit_sha, pin.identity) == (ref.step, ref.commit_sha, ref.identity):
                return pin
        raise EmergenceError(
            f"{ref.model} step {ref.step} is not pinned at {ref.commit_sha[:12]}.",
            where=self.lock,
            remedy="run again; the lock file has changed",
        )

    def _new_pins(
        self, repository: str, old: Sequence[Pin], now: Mapping[int, tuple[str, str]], accept_moved: bool
    ) -> tuple[Pin, ...]:
        known = {pin.step: pin for pin in old}
        kept = {step: pin for step, pin in known.items() if step in now or not accept_moved}
        to_pin = [
            (step, revision, sha)
            for step, (revision, sha) in now.items()
            if step not in known or ((accept_moved or known[step].problem) and known[step].commit_sha != sha)
        ]

        def pin(branch: tuple[int, str, str]) -> Pin:
            step, revision, sha = branch
            return _pin_of(step, revision, sha, self._client.files(repository, sha))

        with ThreadPoolExecutor(LISTING_THREADS) as threads:
            kept |= {found.step: found for found in threads.map(pin, to_pin)}
        return tuple(kept[step] for step in sorted(kept))

    def _write(self, model: str, pins: tuple[Pin, ...]) -> None:
        with clear_disk_errors(self.lock):
            self.lock.parent.mkdir(parents=True, exist_ok=True)
            with leased(self.lock.with_name(f".{self.lock.name}.lock")):
                lock = read_lock(self.lock)
                new = Lock({**lock.models, model: PinnedModel(self.repositories[model], pins)})
                if new != lock:
                    write_lock(self.lock, new)


def _is_pickled(pin: Pin) -> bool:
    return not any(file.name.endswith(".safetensors") for file in pin.weights)


def _pin_of(step: int, revision: str, commit_sha: str, files: Sequence[PinnedFile]) -> Pin:
    """Make a pin of one weight format with its other files; a missing or invalid file is the problem of the pin."""
    listed = {file.name: file for file in files}
    weights, problem = _weights(listed)
    indexes = [f"{single}.index.json" for single in _FORMATS]
    others = [name for name in (*NEEDED, *WELCOME) if name in listed]
    others += [name for name in indexes if name in listed and weights and _belongs(name, weights)]
    others += sorted(name for name in listed if name.endswith(".py") and name.removesuffix(".py").isidentifier())
    if missing := [name for name in NEEDED if name not in listed]:
        problem = f"{missing[0]} is missing"
    if paths := [name for name in listed if "/" in name]:
        problem = f"unsafe file name {paths[0][:80]!r}"  # of a hub without folders in its listings, or of a hostile hub
    pinned = [listed[name] for name in (*weights, *others)]
    try:
        for file in pinned:
            refuse_odd_file(file)
    except BrokenCheckpoint as error:
        return Pin(step, revision, commit_sha, error.what, (), ())
    return Pin(step, revision, commit_sha, problem, tuple(pinned[: len(weights)]), tuple(pinned[len(weights) :]))


def _weights(listed: Collection[str]) -> tuple[list[str], str]:
    """List the weights files of the preferred complete format, a single file before parts; or return the problem."""
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
    """List the parts of every complete set; without such a set, also return the missing part, as in `2 of 3`."""
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
    """Return whether an index belongs to the chosen files."""
    single = index.removesuffix(".index.json")
    return single not in weights and Path(single).suffix == Path(weights[0]).suffix
