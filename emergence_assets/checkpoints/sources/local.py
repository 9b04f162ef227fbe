"""Checkpoints in a folder, which another program may still be writing; also those that are trained here."""

import contextlib
import json
import re
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from emergence_assets.checkpoints.files.folder import check_whole, weights_files
from emergence_assets.checkpoints.files.pickles import INDEX, SINGLE, pickle_files
from emergence_assets.checkpoints.sources.cache import CheckpointCache
from emergence_assets.checkpoints.sources.revision import RevisionPattern
from emergence_assets.checkpoints.sources.safety import refuse_unsafe, refuse_ways_out
from emergence_assets.checkpoints.sources.source import CheckpointRef, Listing, Source
from emergence_assets.study.family import Local
from resources.errors import BrokenCheckpoint, EmergenceError
from resources.files.storage import Storage
from resources.progress import Report

UNFINISHED = (".tmp", ".partial", ".incomplete", ".part", ".crdownload")
"""Endings of names that programs give to what they are still writing."""
_MATTERS = re.compile(
    r"(config|tokenizer|tokenizer_config|special_tokens_map)\.json|.*\.(safetensors|bin)(\.index\.json)?|.*\.py"
)
_whole: dict[tuple[Path, Path, bool], tuple[str, str]] = {}
"""Folder, root and whether pickles count, to its identity and why it is not whole, empty when it is: headers are read
once per version of a folder."""


class File(NamedTuple):
    """A file of a checkpoint folder as its directory entry describes it."""

    name: str
    n_bytes: int
    modified_ns: int
    inode: int
    changed_ns: int


class LocalSource(Source):
    """A `Source` over `{root}/{pattern}`."""

    def __init__(
        self,
        root: Path,
        pattern: str = "{model}/step{step}",
        *,
        marker: str | None = None,
        settle_seconds: float = 10.0,
        cache_root: Path | None = None,
        trusted: Collection[str] = (),
    ):
        """Nothing is read yet.

        Args:
            root: folder of the family.
            pattern: where below it a checkpoint lies, with {model} and {step}.
            marker: file that a finished checkpoint has; None asks for none.
            settle_seconds: no file may have changed for so long.
            cache_root: where converted copies of pickled weights go; None refuses pickles.
            trusted: models whose own code may be run.
        """
        self.root, self.pattern, self.marker, self.settle_seconds = root.absolute(), pattern, marker, settle_seconds
        self.trusted = frozenset(trusted)
        # The folder is there already and bounds what is converted from it.
        self._converted = CheckpointCache(cache_root, sys.maxsize) if cache_root else None

    @classmethod
    def of(cls, family: Local, storage: Storage) -> "LocalSource":
        """See `Source.of`."""
        return cls(
            Path(family.root),
            family.folder,
            marker=family.marker,
            settle_seconds=family.settle_seconds,
            cache_root=storage.checkpoint_cache() / "converted",
            trusted=family.trust_remote_code,
        )

    def list(self, model: str) -> Listing:
        """Folders of a model whose names are steps; see `Source.list`.

        Raises:
            EmergenceError: the root cannot be read, or two folders are the same step.
        """
        found, incomplete = [], {}
        for step, folder in self._folders(model).items():
            try:
                files = _files(folder)
                identity = self._identity(model, step, files)
                if reason := self._unfinished(folder, files) or self._damaged(folder, identity):
                    incomplete[step] = reason
                    continue
            except OSError as error:
                incomplete[step] = f"it cannot be read: {error.strerror} ({Path(error.filename or folder).name})"
                continue
            ending = ".safetensors" if _has_safetensors(folder) else ".bin"
            n_bytes = sum(file.n_bytes for file in files if file.name.endswith(ending))
            found.append(CheckpointRef(model, step, folder.name, self.location(folder), "", identity, n_bytes))
        return Listing(tuple(found), incomplete)

    def verify(self, ref: CheckpointRef) -> str:
        """Whether the files are those that were listed; see `Source.verify`."""
        try:
            identity = self._identity(ref.model, ref.step, _files(self.folder_of(ref)))
        except OSError:
            return f"its folder {self.folder_of(ref)} cannot be read any more"
        return "" if identity == ref.identity else "its files changed since it was listed"

    @contextlib.contextmanager
    def fetch(self, ref: CheckpointRef, report: Report) -> Iterator[Path]:
        """The folder itself, or a converted copy of pickled weights; see `Source.fetch`."""
        folder = self.folder_of(ref)
        if not folder.is_dir():
            raise EmergenceError("The folder of this checkpoint is gone.", where=folder, remedy="put it back")
        refuse_unsafe(folder, trusted=ref.model in self.trusted, root=self.root)
        self._refuse_changed(ref)
        if self._converted is None:
            weights_files(folder)  # says that there are pickles only, or nothing
        if self._converted is None or _has_safetensors(folder):
            yield folder
            return

        def fill(copy: Path) -> None:
            report(0, 1, "converting pickled weights")
            self._convert(ref, copy)

        with self._converted.hold(ref.identity, 2 * ref.weights_bytes, fill) as copy:
            yield copy

    def _convert(self, ref: CheckpointRef, copy: Path) -> None:
        from emergence_assets.checkpoints.models.conversion import convert_pickle

        folder = self.folder_of(ref)
        for file in _files(folder):
            with contextlib.suppress(FileNotFoundError):  # then it changed
                shutil.copyfile(folder / file.name, copy / file.name)
        self._refuse_changed(ref)
        convert_pickle(copy)

    def _refuse_changed(self, ref: CheckpointRef) -> None:
        """Refuse a folder that is not what was listed: what is made from it would bear the name of something else."""
        if problem := self.verify(ref):
            raise EmergenceError(f"{ref.model} step {ref.step}: {problem}.", where=ref.location, remedy="run again")

    def location(self, folder: Path) -> str:
        """Where a checkpoint is, as tables and messages name it."""
        return str(folder)

    def folder_of(self, ref: CheckpointRef) -> Path:
        """Folder of a listed checkpoint."""
        return Path(ref.location)

    def identifying(self, file: File) -> tuple[str | int, ...]:
        """Attributes of a file that are part of a checkpoint's identity."""
        return file

    def _identity(self, model: str, step: int, files: Sequence[File]) -> str:
        seen = [self.identifying(file) for file in files]
        return sha256(json.dumps([model, step, *seen]).encode()).hexdigest()[:32]

    def is_cached(self, ref: CheckpointRef) -> bool:
        """Whether the folder holds safetensors, or a converted copy is there."""
        folder = self.folder_of(ref)
        return _has_safetensors(folder) or (self._converted is not None and self._converted.contains(ref.identity))

    def evict(self, ref: CheckpointRef) -> int:
        """Remove the converted copy unless it is in use; what lies in the folder itself is not ours."""
        return self._converted.evict(ref.identity) if self._converted else 0

    def _folders(self, model: str) -> dict[int, Path]:
        """Step to folder, by step."""
        above, _, name = self.pattern.replace("{model}", model).rpartition("/")
        if "{step}" in above:
            raise EmergenceError(
                f"In {self.pattern!r} the step is not in the last folder's name.", remedy="correct family.folder"
            )
        parent = self.root / above
        try:
            if not self.root.is_dir():
                raise EmergenceError(
                    "The folder of the family is not there.", where=self.root, remedy="correct family.root"
                )
            names = [path.name for path in parent.iterdir() if path.is_dir()] if parent.exists() else []
        except OSError as error:
            what = f"The folder of {model} cannot be read: {error.strerror}."
            raise EmergenceError(what, where=parent, remedy="correct family.folder, or change its rights") from None
        return {step: parent / name for step, name in RevisionPattern(name).steps(names, where=parent).items()}

    def _unfinished(self, folder: Path, files: Sequence[File]) -> str:
        """Why a folder is still being written; empty when it is not."""
        unfinished = [path.name for path in folder.iterdir() if path.name.endswith(UNFINISHED)]
        if unfinished:
            return f"still being written: {unfinished[0]}"
        if self.marker and not (folder / self.marker).exists():
            return f"it has no {self.marker} yet"
        age = time.time() - max((file.changed_ns for file in files), default=0) / 1e9
        # By the time of change, which unlike the time of modification cannot be copied along.
        if files and age < self.settle_seconds:
            # Without its age: the reason is part of a table, which is not to change from second to second.
            return f"still being written: it changed less than {self.settle_seconds:g} s ago"
        return ""

    def _damaged(self, folder: Path, identity: str) -> str:
        key = folder, self.root, self._converted is not None
        known, reason = _whole.get(key, ("", ""))
        if known == identity:
            return reason
        try:
            refuse_ways_out(folder, self.root)
            if _has_safetensors(folder):
                check_whole(folder)
            else:
                _check_pickles(folder, self._converted is not None)
            reason = ""
        except BrokenCheckpoint as error:
            reason = error.reason
            if isinstance(error.__cause__, OSError):
                return reason  # of the disk or the network behind it, not of these files: asked again next time
        _whole[key] = identity, reason
        return reason


def _has_safetensors(folder: Path) -> bool:
    return (folder / "model.safetensors").exists() or (folder / "model.safetensors.index.json").exists()


def _check_pickles(folder: Path, convertible: bool) -> None:
    if not convertible or not ((folder / SINGLE).exists() or (folder / INDEX).exists()):
        weights_files(folder)
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).exists():
            raise BrokenCheckpoint(f"{name} is missing", where=folder / name)
    pickle_files(folder)


def _files(folder: Path) -> list[File]:
    """Files that decide what a checkpoint is, by name."""
    found = []
    for path in sorted(folder.iterdir()):
        if _MATTERS.fullmatch(path.name):
            status = path.stat()
            found.append(File(path.name, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns))
    return found
