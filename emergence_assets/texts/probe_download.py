"""The file behind a probe set: where it is, what it hashes to, and how that of MMLU is fetched and pinned.

A fetched file lies under `probe-sets/` of the data folder with `pin.json`, which says the commit it is of. A branch
that moves upstream changes nothing: to take what is there now, delete the folder, or name another revision.
"""

import functools
import json
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from resources.errors import BrokenCheckpoint, EmergenceError, SourceUnreachable
from resources.files.atomic import clear_disk_errors, replacing_file
from resources.files.storage import fetched_probe_set
from resources.hub.client import HubClient, HubFile
from resources.hub.pinned_file import SHA1, PinnedFile, refuse_odd_file
from resources.progress import Report

MAX_BYTES = 512 * 2**20
_LOCAL = "give probe_set.path a local file with the columns question and subject"


def probe_file(settings: Mapping[str, Any]) -> Path | None:
    """The file that a probe set from a file is read from; None while it has to be fetched.

    Args:
        settings: the declaration of a `TableProbes` or `MMLUProbes` as plain values.
    """
    if settings["path"] is not None:
        return Path(settings["path"])
    path = _fetched(settings)
    return path if path.exists() and _pin_path(path).exists() else None


def file_sha256(path: Path) -> str:
    """Hash of a probe file, worked out once per version of it.

    Raises:
        EmergenceError: it cannot be read.
    """
    try:
        found = path.stat()
        return _hash_of_version(path, (found.st_ino, found.st_size, found.st_mtime_ns))
    except OSError as error:
        raise EmergenceError(
            f"The file cannot be read: {error.strerror}.", where=path, remedy="correct the path in the study"
        ) from None


def fetch(
    settings: Mapping[str, Any], report: Report, *, offline: bool = False, client: HubClient | None = None
) -> Path:
    """Bring the file of a probe set here, unless it is here: a request for the commit, one for its files, the file.

    Args:
        settings: the declaration of a `MMLUProbes` as plain values.
        report: called with bytes done, bytes in all, and a note.
        offline: ask no hub.
        client: of another hub than the usual one.

    Raises:
        EmergenceError: the hub has no such repository, revision or file, or does not answer, or may not be asked; the
            file is not what was pinned.
    """
    if (there := probe_file(settings)) is not None:
        return there
    repository, revision, path = settings["repository"], settings["revision"], _fetched(settings)
    where = f"{repository}@{revision}"
    if offline:
        raise EmergenceError("The probe set is not here, and the study is offline.", where=where, remedy=_LOCAL)
    client = client or HubClient(kind="dataset")
    try:
        pin = _read_pin(_pin_path(path)) or _pin(client, repository, revision, settings["file"])
        commit_sha, file = pin
        with clear_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing_file(_pin_path(path)) as temporary:
                record = {"repository": repository, "revision": revision, "commit_sha": commit_sha}
                temporary.write_text(
                    json.dumps(record | {"file": [file.name, file.n_bytes, file.sha256, file.blob_id]}, indent=1)
                    + "\n",
                    encoding="utf-8",
                )
            folder = path.parent / "arriving"
            folder.mkdir(exist_ok=True)
            within = str(PurePosixPath(settings["file"]).parent)
            client.download(repository, commit_sha, file, folder, report, within="" if within == "." else within)
            (folder / file.name).replace(path)
    except SourceUnreachable:
        raise
    except EmergenceError as error:
        remedy = f"correct probe_set.repository, probe_set.revision or probe_set.file, or {_LOCAL}"
        raise EmergenceError(error.what, where=where, remedy=remedy) from error
    return path


def _pin(client: HubClient, repository: str, revision: str, name: str) -> tuple[str, PinnedFile]:
    commit_sha = revision if SHA1.fullmatch(revision) else client.revisions(repository).get(revision)
    if commit_sha is None:
        raise EmergenceError(f"The repository has no branch or tag {revision!r}.")
    parent = str(PurePosixPath(name).parent)
    listed: dict[str, HubFile] = {
        file.name: file for file in client.files(repository, commit_sha, "" if parent == "." else parent)
    }
    if name not in listed:
        raise EmergenceError(f"The repository has no file {name}.")
    found = listed[name]
    file = PinnedFile(PurePosixPath(name).name, found.n_bytes, found.sha256, "" if found.sha256 else found.blob_id)
    refuse_odd_file(file)
    if file.n_bytes > MAX_BYTES:
        raise EmergenceError(f"{name} has {file.n_bytes} bytes, more than {MAX_BYTES}.")
    return commit_sha, file


def _read_pin(path: Path) -> tuple[str, PinnedFile] | None:
    """The pin of a file that is being fetched; one that cannot be read is made anew."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        name, n_bytes, digest, blob_id = record["file"]
        file = PinnedFile(str(name), n_bytes, str(digest), str(blob_id))
        refuse_odd_file(file)
        return (str(record["commit_sha"]), file) if SHA1.fullmatch(str(record["commit_sha"])) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError, BrokenCheckpoint):
        return None


def _fetched(settings: Mapping[str, Any]) -> Path:
    source = "@".join(str(settings[name]) for name in ("repository", "revision", "file"))
    folder = re.sub(r"[^\w.@-]", "--", source)
    return fetched_probe_set(folder) / PurePosixPath(settings["file"]).name


def _pin_path(path: Path) -> Path:
    return path.with_name("pin.json")


@functools.lru_cache(maxsize=16)
def _hash_of_version(path: Path, _version: tuple[int, int, int]) -> str:
    with path.open("rb") as file:
        digest = sha256()
        while content := file.read(1 << 20):
            digest.update(content)
    return digest.hexdigest()
