"""The lock file: every revision of a hub family pinned to a commit and to the hashes of its files, without a download.

JSON with one line per checkpoint, sorted, so that a diff shows what changed. It is meant to be kept under version
control.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.files.folder import weights_sha256
from resources.errors import BrokenCheckpoint, EmergenceError
from resources.files.atomic import clear_disk_errors, replacing_file
from resources.hub.pinned_file import SHA1, PinnedFile, refuse_odd_file

FORMAT = "emergence-checkpoint-lock"
FORMAT_VERSION = 1
MAX_BYTES = 200_000_000
MAX_STEP = 10**13
"""Beyond what `RevisionPattern` reads."""


@dataclass(frozen=True)
class Pin:
    """One revision at one commit."""

    step: int
    revision: str
    commit_sha: str
    weights: tuple[PinnedFile, ...]
    """Files of one weight format."""
    others: tuple[PinnedFile, ...]
    """Config, tokenizer, index."""
    problem: str = ""
    """What the revision lacks; it is then no checkpoint."""

    @property
    def files(self) -> tuple[PinnedFile, ...]:
        """All files that are fetched, small ones first."""
        return (*self.others, *self.weights)

    @property
    def identity(self) -> str:
        """Hash of the content of all files: equal for equal checkpoints, whatever their commits."""
        lines = [f"{file.name} {file.n_bytes} {file.sha256 or file.blob_id}" for file in self.files]
        return sha256("\n".join(sorted(lines)).encode()).hexdigest()[:32]

    @property
    def weights_sha256(self) -> str:
        """As in `folder.weights_sha256`; empty when the hub does not state the hashes."""
        hashes = {file.name: file.sha256 for file in self.weights}
        return weights_sha256(hashes) if hashes and all(hashes.values()) else ""


@dataclass(frozen=True)
class Lock:
    """Pins of all models of a family."""

    repositories: Mapping[str, str] = field(default_factory=dict)
    """Model to repository."""
    pins: Mapping[str, tuple[Pin, ...]] = field(default_factory=dict)
    """Model to its pins, by step."""


@dataclass(frozen=True)
class LockDifference:
    """What changed upstream since a lock was written, in lines that name model, revision and commit."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()


def write_lock(path: Path, lock: Lock) -> None:
    """Write a lock, whole or not at all."""
    parts = []
    for model in sorted(lock.pins):
        lines = ",\n".join(f"   {json.dumps(_plain(pin))}" for pin in lock.pins[model])
        head = f'  {json.dumps(model)}: {{"repository": {json.dumps(lock.repositories[model])}, "checkpoints": [\n'
        parts.append(f"{head}{lines}\n  ]}}")
    head = json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION})[:-1]
    text = f'{head}, "models": {{\n' + ",\n".join(parts) + "\n}}\n"
    with clear_disk_errors(path), replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_lock(path: Path) -> Lock | None:
    """The lock in a file; None without a file.

    Raises:
        EmergenceError: the file is no lock, or a name or hash in it is odd.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _odd(path, "it is too large")
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _odd(path, str(error)) from None
    match record:
        case {"format": str(name), "format_version": int(version), "models": dict(models)} if (
            name == FORMAT and version == FORMAT_VERSION
        ):
            pass
        case _:
            raise _odd(path, f"it is no {FORMAT} of version {FORMAT_VERSION}")
    repositories, pins = {}, {}
    for model, entry in models.items():
        match entry:
            case {"repository": str(repository), "checkpoints": list(checkpoints)}:
                repositories[model] = repository
                pins[model] = tuple(_pin(checkpoint, path) for checkpoint in checkpoints)
            case _:
                raise _odd(path, f"its entry of {model!r} is odd")
        steps = [pin.step for pin in pins[model]]
        if steps != sorted(set(steps)):
            raise _odd(path, f"the steps of {model!r} do not ascend")
    return Lock(repositories, pins)


def difference(model: str, old: Sequence[Pin], new: Mapping[int, tuple[str, str]]) -> LockDifference:
    """Compare pins with what the branches are now.

    Args:
        model: named in the lines.
        old: pins.
        new: step to revision and commit.
    """
    known = {pin.step: pin for pin in old}
    added = [f"{model} {name} at {sha[:12]}" for step, (name, sha) in sorted(new.items()) if step not in known]
    removed = [f"{model} {pin.revision} at {pin.commit_sha[:12]}" for pin in old if pin.step not in new]
    moved = [
        f"{model} {pin.revision} from {pin.commit_sha[:12]} to {new[pin.step][1][:12]}"
        for pin in old
        if pin.step in new and new[pin.step][1] != pin.commit_sha
    ]
    return LockDifference(tuple(added), tuple(removed), tuple(moved))


def _plain(pin: Pin) -> dict[str, Any]:
    return {
        "step": pin.step,
        "revision": pin.revision,
        "commit_sha": pin.commit_sha,
        "problem": pin.problem,
        "weights": [[file.name, file.n_bytes, file.sha256, file.blob_id] for file in pin.weights],
        "others": [[file.name, file.n_bytes, file.sha256, file.blob_id] for file in pin.others],
    }


def _pin(record: Any, path: Path) -> Pin:
    match record:
        case {
            "step": int(step),
            "revision": str(revision),
            "commit_sha": str(commit_sha),
            "problem": str(problem),
            "weights": list(weights),
            "others": list(others),
        } if type(step) is int and 0 <= step <= MAX_STEP and SHA1.fullmatch(commit_sha):
            files = [tuple(_file(file, path) for file in listed) for listed in (weights, others)]
            if not problem and not files[0]:
                raise _odd(path, f"{revision!r} has no weights")
            return Pin(step, revision, commit_sha, files[0], files[1], problem)
    raise _odd(path, f"a checkpoint is odd: {str(record)[:80]}")


def _file(record: Any, path: Path) -> PinnedFile:
    match record:
        case [str(name), int(n_bytes), str(digest), str(blob_id)]:
            file = PinnedFile(name, n_bytes, digest, blob_id)
            try:
                refuse_odd_file(file)
            except BrokenCheckpoint as error:
                raise _odd(path, error.what) from None
            return file
    raise _odd(path, f"a file is odd: {str(record)[:80]}")


def _odd(path: Path, what: str) -> EmergenceError:
    return EmergenceError(
        f"The lock file cannot be used: {what}.",
        where=path,
        remedy="take it back from version control, or delete it and type `emergence checkpoints lock`",
    )
