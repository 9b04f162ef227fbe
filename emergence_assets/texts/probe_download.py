"""The file of a probe set: its path and hash, and the download of MMLU with its pin.

A downloaded file is under `probe-sets/` of the data folder, with its commit in `pin.json`. A branch that moves upstream
changes nothing: delete the folder, or set another revision, to download the present version.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field, ValidationError

from emergence_assets.study.strict import StrictModel
from resources.errors import BrokenCheckpoint, EmergenceError, SourceUnreachable
from resources.files.atomic import clear_disk_errors, replacing_file
from resources.files.storage import fetched_probe_set, path_of
from resources.files.versions import file_sha256
from resources.hub.client import HubClient
from resources.hub.pinned_file import SHA1, PinnedFile, refuse_odd_file
from resources.progress import Report

MAX_BYTES = 512 * 2**20
_LOCAL = "set probe_set.path to a local file with the columns question and subject"


class _Pin(StrictModel):
    """Content of `pin.json`."""

    repository: str
    revision: str
    commit_sha: Annotated[str, Field(pattern=f"^{SHA1.pattern}$")]
    file: tuple[str, int, str, str]
    """Name, size in bytes, sha256 and blob id, as in `PinnedFile`."""


def probe_file(settings: Mapping[str, Any]) -> Path | None:
    """Return the path of a probe set's file, or None before its download.

    Args:
        settings: fields of a `TableProbes` or `MMLUProbes` as plain values.
    """
    if settings["path"] is not None:
        return path_of(settings["path"])
    path = _fetched(settings)
    return path if path.exists() and _pin_path(path).exists() else None


def probe_file_sha256(path: Path) -> str:
    """Hash a probe file, once per version of the file.

    Raises:
        EmergenceError: the file cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise EmergenceError(
            f"The file cannot be read: {error.strerror}.", where=path, remedy="correct the path in the study"
        ) from None


def fetch(
    settings: Mapping[str, Any], report: Report, *, offline: bool = False, client: HubClient | None = None
) -> Path:
    """Download the file of a probe set unless it exists: one request for the commit, one for its files, and the file.

    Args:
        settings: fields of an `MMLUProbes` as plain values.
        report: called with bytes done, total bytes, and a note.
        offline: refuse to download.
        client: client of another hub; by default the usual one.

    Raises:
        EmergenceError: the hub has no such repository, revision or file, or does not answer; the study is offline; the
            file differs from its pin.
    """
    if (there := probe_file(settings)) is not None:
        return there
    repository, revision, path = settings["repository"], settings["revision"], _fetched(settings)
    where = f"{repository}@{revision}"
    if offline:
        raise EmergenceError("The probe set is not downloaded, and the study is offline.", where=where, remedy=_LOCAL)
    client = client or HubClient(kind="dataset")
    try:
        commit_sha, file = _read_pin(_pin_path(path)) or _pin(client, repository, revision, settings["file"])
        with clear_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing_file(_pin_path(path)) as temporary:
                content = (file.name, file.n_bytes, file.sha256, file.blob_id)
                pin = _Pin(repository=repository, revision=revision, commit_sha=commit_sha, file=content)
                temporary.write_text(pin.model_dump_json(indent=1) + "\n", encoding="utf-8")
            folder = path.parent / "arriving"
            folder.mkdir(exist_ok=True)
            within = settings["file"].rpartition("/")[0]
            client.download(repository, commit_sha, file, folder, report, within=within)
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
    listed = client.files(repository, commit_sha, name.rpartition("/")[0])
    found = next((file for file in listed if file.name == name), None)
    if found is None:
        raise EmergenceError(f"The repository has no file {name}.")
    file = found._replace(name=PurePosixPath(name).name)
    refuse_odd_file(file)
    if file.n_bytes > MAX_BYTES:
        raise EmergenceError(f"{name} has {file.n_bytes} bytes, more than {MAX_BYTES}.")
    return commit_sha, file


def _read_pin(path: Path) -> tuple[str, PinnedFile] | None:
    """Read the pin of an interrupted download; None if it is missing or damaged."""
    try:
        pin = _Pin.model_validate_json(path.read_bytes())
        file = PinnedFile(*pin.file)
        refuse_odd_file(file)
    except (OSError, ValidationError, BrokenCheckpoint):
        return None
    return pin.commit_sha, file


def _fetched(settings: Mapping[str, Any]) -> Path:
    source = "@".join(str(settings[name]) for name in ("repository", "revision", "file"))
    folder = re.sub(r"[^\w.@-]", "--", source)
    return fetched_probe_set(folder) / PurePosixPath(settings["file"]).name


def _pin_path(path: Path) -> Path:
    return path.with_name("pin.json")
