"""The lock file: pins every revision of a hub family to a commit and to the hashes of its files, without a download.

JSON with one line per checkpoint, sorted, so that a diff shows the changes. Keep it under version control.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from emergence_assets.checkpoints.files.folder import weights_sha256
from emergence_assets.study.strict import MOST
from resources.errors import BrokenCheckpoint, EmergenceError
from resources.files.atomic import clear_disk_errors, replacing_file
from resources.files.checked_json import STRICT, ascending_steps, read_checked
from resources.hub.pinned_file import SHA1, PinnedFile, refuse_odd_file

MAX_BYTES = 200_000_000


def _checked(file: PinnedFile) -> PinnedFile:
    try:
        refuse_odd_file(file)
    except BrokenCheckpoint as error:
        raise ValueError(error.what) from None
    return file


Files = tuple[Annotated[PinnedFile, AfterValidator(_checked)], ...]


@dataclass(frozen=True)
class Pin:
    """One revision at one commit."""

    __pydantic_config__ = STRICT
    step: Annotated[int, Field(ge=0, le=MOST)]
    revision: str
    commit_sha: Annotated[str, Field(pattern=f"^{SHA1.pattern}$")]
    problem: str
    """Description of a missing or unusable file; empty for a complete checkpoint."""
    weights: Files
    """Files of one weight format."""
    others: Files
    """Config, tokenizer, index."""

    @model_validator(mode="after")
    def _has_weights(self) -> "Pin":
        if not self.problem and not self.weights:
            raise ValueError(f"{self.revision!r} has no weights")
        return self

    @property
    def files(self) -> tuple[PinnedFile, ...]:
        """All files to fetch, small files first."""
        return (*self.others, *self.weights)

    @property
    def identity(self) -> str:
        """Hash of the content of all files; equal checkpoints of different commits have equal hashes."""
        lines = [f"{file.name} {file.n_bytes} {file.sha256 or file.blob_id}" for file in self.files]
        return sha256("\n".join(sorted(lines)).encode()).hexdigest()[:32]

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights, see `folder.weights_sha256`; empty if the hub does not publish hashes."""
        hashes = {file.name: file.sha256 for file in self.weights}
        return weights_sha256(hashes) if hashes and all(hashes.values()) else ""


@dataclass(frozen=True)
class PinnedModel:
    """Pins of one model."""

    __pydantic_config__ = STRICT
    repository: str
    checkpoints: Annotated[tuple[Pin, ...], AfterValidator(ascending_steps)]
    """By step."""


@dataclass(frozen=True)
class Lock:
    """Pins of all models of a family."""

    __pydantic_config__ = STRICT
    models: Mapping[str, PinnedModel]
    format: Literal["emergence-checkpoint-lock"] = "emergence-checkpoint-lock"
    format_version: Literal[1] = 1

    def pins(self, model: str, repository: str) -> tuple[Pin, ...]:
        """Return the pins of a model in a repository; none if the model is pinned in another repository."""
        pinned = self.models.get(model)
        return pinned.checkpoints if pinned and pinned.repository == repository else ()


@dataclass(frozen=True)
class LockDifference:
    """Changes at the hub since a lock was written; each line has model, revision and commit."""

    added: list[str]
    removed: list[str]
    moved: list[str]


_LOCK = TypeAdapter(Lock)


def write_lock(path: Path, lock: Lock) -> None:
    """Write a lock atomically."""
    parts = []
    for model, pinned in sorted(lock.models.items()):
        lines = ",\n".join(f"   {json.dumps(asdict(pin))}" for pin in pinned.checkpoints)
        head = f'  {json.dumps(model)}: {{"repository": {json.dumps(pinned.repository)}, "checkpoints": [\n'
        parts.append(f"{head}{lines}\n  ]}}")
    head = json.dumps({"format": lock.format, "format_version": lock.format_version})[:-1]
    text = f'{head}, "models": {{\n' + ",\n".join(parts) + "\n}}\n"
    with clear_disk_errors(path), replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_lock(path: Path) -> Lock:
    """Read the lock of a file; return an empty lock without a file.

    Raises:
        EmergenceError: the file is not a lock, or a field is wrong; names the field.
    """
    try:
        return read_checked(path, _LOCK, MAX_BYTES)
    except FileNotFoundError:
        return Lock({})
    except (OSError, ValueError) as error:
        raise EmergenceError(
            f"The lock file cannot be used: {error}.",
            where=path,
            remedy="restore it from version control, or delete it and type `emergence checkpoints lock`",
        ) from None


def difference(model: str, old: Sequence[Pin], new: Mapping[int, tuple[str, str]]) -> LockDifference:
    """Compare pins with the branches of the hub.

    Args:
        model: name of the model in the lines.
        old: pins of the lock.
        new: step to revision and commit at the hub.
    """
    known = {pin.step for pin in old}
    return LockDifference(
        [f"{model} {name} at {sha[:12]}" for step, (name, sha) in sorted(new.items()) if step not in known],
        [f"{model} {pin.revision} at {pin.commit_sha[:12]}" for pin in old if pin.step not in new],
        [
            f"{model} {pin.revision} from {pin.commit_sha[:12]} to {new[pin.step][1][:12]}"
            for pin in old
            if pin.step in new and new[pin.step][1] != pin.commit_sha
        ],
    )
