"""Source of checkpoints in a local folder, which another program may still be writing."""

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from emergence_assets.checkpoints.files.folder import check_whole, weights_files
from emergence_assets.checkpoints.files.pickles import INDEX, SINGLE, pickle_files
from emergence_assets.checkpoints.sources.cache import CheckpointCache
from emergence_assets.checkpoints.sources.revision import RevisionPattern
from emergence_assets.checkpoints.sources.safety import MAX_CONFIG_BYTES, refuse_unsafe, refuse_ways_out
from emergence_assets.checkpoints.sources.settling import File, unfinished, watch
from emergence_assets.checkpoints.sources.source import CheckpointRef, Listing, Source
from emergence_assets.study.family import Local
from resources.errors import BrokenCheckpoint, EmergenceError
from resources.files.atomic import explained
from resources.files.storage import Storage, path_of
from resources.progress import Report

SHOWN = 8
"""Folder names that a message lists."""
_MATTERS = re.compile(
    r"(config|tokenizer|tokenizer_config|special_tokens_map)\.json|.*\.(safetensors|bin)(\.index\.json)?|.*\.py"
)
_whole: dict[tuple[Path, Path, bool], tuple[str, str]] = {}
"""Maps folder, root and whether pickles are accepted to the identity of the folder and the reason why it is incomplete
(empty if complete). Headers are read once per version of a folder."""


class LocalSource(Source):
    """A `Source` over `{root}/{pattern}`."""

    def __init__(self, family: Local, storage: Storage):
        """Read nothing yet."""
        self.root, self.pattern = path_of(family.root).absolute(), family.folder
        self.marker, self.settle_seconds = family.marker, family.settle_seconds
        self.trusted = frozenset(family.trust_remote_code)
        # Without limit: the size of the source folder bounds the size of the converted copies.
        self._converted: CheckpointCache | None = CheckpointCache(storage.checkpoint_cache() / "converted", sys.maxsize)

    def list(self, model: str) -> Listing:
        """List the folders of a model whose names fit the pattern; see `Source.list`.

        Raises:
            EmergenceError: the root cannot be read, or two folders have the same step.
        """
        found, incomplete = [], {}
        folders = self._folders(model)
        watch(_readable(folders.values()), self.settle_seconds)
        for step, folder in folders.items():
            try:
                files = _files(folder)
                identity = self._identity(model, step, files)
                reason = unfinished(folder, files, self.marker, self.settle_seconds)
                if reason := reason or self._damaged(folder, identity):
                    incomplete[step] = reason
                    continue
            except OSError as error:
                incomplete[step] = f"it cannot be read: {error.strerror} ({Path(error.filename or folder).name})"
                continue
            ending = ".safetensors" if _has_safetensors(folder) else ".bin"
            n_bytes = sum(file.n_bytes for file in files if file.name.endswith(ending))
            found.append(CheckpointRef(model, step, folder.name, self.location(folder), "", identity, n_bytes))
        return Listing(tuple(found), incomplete, "" if folders else self._found_instead(model))

    def lost(self, ref: CheckpointRef) -> bool:
        """Return whether the folder of a checkpoint would be listed if it were whole; see `Source.lost`."""
        parent, name = self._pattern_of(ref.model)
        folder = self.folder_of(ref)
        return folder.parent == parent and name.step_of(folder.name) == ref.step

    def config_hash(self, ref: CheckpointRef) -> str:
        """Return the SHA-256 of config.json; see `Source.config_hash`."""
        path = self.folder_of(ref) / "config.json"
        try:
            if path.stat().st_size > MAX_CONFIG_BYTES:
                raise BrokenCheckpoint(f"{path.name} is larger than {MAX_CONFIG_BYTES} bytes", where=path)
            return sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise explained(error, path) from error

    def verify(self, ref: CheckpointRef) -> str:
        """Compare the files with the listing; see `Source.verify`."""
        try:
            files = _files(self.folder_of(ref))
        except FileNotFoundError:
            return "its folder is gone"
        except OSError as error:
            return f"its folder cannot be read: {error.strerror}"
        same = self._identity(ref.model, ref.step, files) == ref.identity
        return "" if same else "its files changed since it was listed"

    @contextlib.contextmanager
    def fetch(self, ref: CheckpointRef, report: Report) -> Iterator[Path]:
        """Yield the folder itself, or a converted copy of pickled weights; see `Source.fetch`."""
        folder = self.folder_of(ref)
        if not folder.is_dir():
            raise EmergenceError(
                f"The folder of {ref.model} step {ref.step} is gone, and something has to be made from it.",
                where=folder,
                remedy="restore it, or leave the step out with `emergence checkpoints forget`",
            )
        refuse_unsafe(folder, trusted=ref.model in self.trusted, root=self.root)
        self._refuse_changed(ref)
        if self._converted is None:
            weights_files(folder)  # raises if there are only pickles, or no weights
        if self._converted is None or _has_safetensors(folder):
            yield folder
            return

        def fill(copy: Path) -> None:
            from emergence_assets.checkpoints.models.conversion import convert_pickle

            report(0, 1, "converting pickled weights")
            for file in _files(folder):
                with contextlib.suppress(FileNotFoundError):  # then the folder has changed
                    shutil.copyfile(folder / file.name, copy / file.name)
            self._refuse_changed(ref)
            convert_pickle(copy)

        with self._converted.hold(ref.identity, 2 * ref.weights_bytes, fill) as copy:
            yield copy

    def _refuse_changed(self, ref: CheckpointRef) -> None:
        """Raise EmergenceError if a folder has changed since it was listed: its results would have a wrong identity."""
        if problem := self.verify(ref):
            raise EmergenceError(f"{ref.model} step {ref.step}: {problem}.", where=ref.location, remedy="run again")

    def location(self, folder: Path) -> str:
        """Return the location of a checkpoint for tables and messages."""
        return str(folder)

    def folder_of(self, ref: CheckpointRef) -> Path:
        """Return the folder of a listed checkpoint."""
        return Path(ref.location)

    def identifying(self, file: File) -> tuple[str | int, ...]:
        """Return the attributes of a file that are part of a checkpoint's identity."""
        return file

    def _identity(self, model: str, step: int, files: Sequence[File]) -> str:
        seen = [self.identifying(file) for file in files]
        return sha256(json.dumps([model, step, *seen]).encode()).hexdigest()[:32]

    def is_cached(self, ref: CheckpointRef) -> bool:
        """Return whether the folder holds safetensors, or a converted copy exists."""
        folder = self.folder_of(ref)
        return _has_safetensors(folder) or (self._converted is not None and self._converted.contains(ref.identity))

    def _pattern_of(self, model: str) -> tuple[Path, RevisionPattern]:
        """Return the folder of a model's checkpoints, and the pattern of their names.

        Raises:
            EmergenceError: the step is not in the last part of the pattern.
        """
        above, _, name = self.pattern.replace("{model}", model).rpartition("/")
        if "{step}" in above:
            raise EmergenceError(
                f"In {self.pattern!r} the step is not in the last folder's name.", remedy="correct family.folder"
            )
        return self.root / above, RevisionPattern(name)

    def _folders(self, model: str) -> dict[int, Path]:
        """Map steps to folders, sorted by step."""
        parent, name = self._pattern_of(model)
        try:
            if not self.root.is_dir():
                raise EmergenceError(
                    "The folder of the family does not exist.", where=self.root, remedy="correct family.root"
                )
            names = [path.name for path in parent.iterdir() if path.is_dir()] if parent.exists() else []
        except OSError as error:
            what = f"The folder of {model} cannot be read: {error.strerror}."
            raise EmergenceError(what, where=parent, remedy="correct family.folder, or its permissions") from None
        return {step: parent / folder for step, folder in name.steps(names, where=parent).items()}

    def _found_instead(self, model: str) -> str:
        """Describe a folder in which no name fits the pattern: its folders, or those of the nearest one that exists."""
        parent, name = self._pattern_of(model)
        existing = next(folder for folder in (parent, *parent.parents) if folder.is_dir())
        held = sorted(path.name for path in existing.iterdir() if path.is_dir())
        shown = ", ".join(held[:SHOWN]) + (f" and {len(held) - SHOWN} more" if len(held) > SHOWN else "")
        wanted = f"folder {name.pattern!r}" if existing == parent else f"folder {parent.relative_to(existing)}"
        return f"{existing} has no {wanted}; its folders are {shown}" if held else f"{existing} has no folders"

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
                return reason  # an error of the disk or network, which may be temporary: checked again next time
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


def _readable(folders: Iterable[Path]) -> Iterator[tuple[Path, list[File]]]:
    for folder in folders:
        with contextlib.suppress(OSError):
            yield folder, _files(folder)


def _files(folder: Path) -> list[File]:
    """List the files that decide the identity of a checkpoint, sorted by name."""
    found = []
    for path in sorted(folder.iterdir()):
        if _MATTERS.fullmatch(path.name):
            status = path.stat()
            found.append(File(path.name, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return found
