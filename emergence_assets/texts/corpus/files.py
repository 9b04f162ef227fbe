"""Files of a training corpus and their content hashes."""

import contextlib
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from emergence_assets.texts.text_lines import COMPRESSED
from resources.errors import EmergenceError
from resources.files.atomic import replacing_file
from resources.files.storage import Storage, path_of
from resources.files.versions import file_sha256

MAX_FILES = 100_000
KINDS = (".parquet", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt")
"""Endings of the files of a corpus; all but parquet, which is compressed inside, also with one of `COMPRESSED`."""


class CorpusFile(NamedTuple):
    """One file of a corpus."""

    path: str
    sha256: str
    """Hash of the file as it is stored."""
    version: str
    """Path, size and times of the file when it was hashed."""


def kind_of(path: Path) -> str:
    """Return the ending of a file without that of its compression, in lower case."""
    name = path.name.lower()
    packed = next((ending for ending in COMPRESSED if name.endswith(ending)), "")
    return Path(name.removesuffix(packed)).suffix


def corpus_files(paths: str, storage: Storage) -> list[CorpusFile]:
    """List the files of a corpus, sorted by path; each is hashed once per version of the file.

    Args:
        paths: glob, see `FilesCorpus.paths`.
        storage: storage of the hashes of files that were read before.

    Raises:
        EmergenceError: the glob fits no file, too many, or one of another kind; or a file cannot be read.
    """
    whole = path_of(paths).absolute()
    root, pattern = Path(whole.anchor), str(whole)[len(whole.anchor) :]
    try:
        found = sorted(path for path in root.glob(pattern) if path.is_file())
    except (ValueError, OSError) as error:
        what, remedy = f"corpus.paths cannot be used: {error}.", "correct it in the study file; it is a glob"
        raise EmergenceError(what, where=paths, remedy=remedy) from None
    if not found:
        raise EmergenceError(
            "The corpus has no files.", where=paths, remedy="correct corpus.paths in the study file; it is a glob"
        )
    if len(found) > MAX_FILES:
        raise EmergenceError(
            f"The corpus has {len(found)} files, more than {MAX_FILES}.", where=paths, remedy="name fewer of them"
        )
    for path in found:
        require_kind(path)
    return [_hashed(path, storage) for path in found]


def require_kind(path: Path) -> None:
    """Refuse a file whose ending names no kind of corpus.

    Raises:
        EmergenceError: names the endings that are read.
    """
    if kind_of(path) not in KINDS or (kind_of(path) == ".parquet" and path.suffix.lower() in COMPRESSED):
        raise EmergenceError(
            f"A file of the corpus ends in {''.join(path.suffixes[-2:]) or 'nothing'!r}.",
            where=path,
            remedy=f"name files that end in {', '.join(KINDS)}, where text may be compressed with .gz or .zst",
        )


def require_unchanged(file: CorpusFile) -> None:
    """Refuse a file that is another one than was hashed.

    Raises:
        EmergenceError: the file changed, or cannot be read.
    """
    if version_of(Path(file.path)) != file.version:
        what, remedy = "A file of the corpus changed while the study was computed.", "run again"
        raise EmergenceError(what, where=file.path, remedy=remedy)


def _hashed(path: Path, storage: Storage) -> CorpusFile:
    """Hash a file; the hash is stored by path, size and times, because a corpus may take minutes to read."""
    version = version_of(path)
    stored = storage.corpus_hash(sha256(version.encode()).hexdigest()[:32])
    with contextlib.suppress(OSError, ValueError):
        if len(known := stored.read_text(encoding="ascii")) == 64:
            return CorpusFile(str(path), known, version)
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    with contextlib.suppress(OSError), replacing_file(stored) as temporary:  # not in a folder that cannot be written
        temporary.write_text(digest, encoding="ascii")
    return CorpusFile(str(path), digest, version)


def version_of(path: Path) -> str:
    """Return path, size and times of a file.

    Raises:
        EmergenceError: the file cannot be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _unreadable(path: Path, error: OSError) -> EmergenceError:
    what = f"A file of the corpus cannot be read: {error.strerror}."
    return EmergenceError(what, where=path, remedy="check path and rights")
