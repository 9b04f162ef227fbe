"""Shards of a training corpus on a hub: pinned to a commit and their hashes, fetched one by one as they are read.

They are under `corpora/` of the data folder, with their pin in `pin.json`. A branch that moves upstream changes
nothing: delete the folder, or set another revision, to pin the present commit.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple

from pydantic import Field, ValidationError

from emergence_assets.study.strict import StrictModel
from emergence_assets.texts.corpus.files import CorpusFile, require_kind, version_of
from resources.errors import BrokenCheckpoint, EmergenceError, SourceUnreachable
from resources.files.atomic import clear_disk_errors, replacing_file
from resources.files.lease import leased
from resources.files.storage import fetched_corpus
from resources.hub.client import CHUNK_BYTES, HubClient
from resources.hub.pinned_file import SHA1, PinnedFile, refuse_odd_file
from resources.progress import Report

MAX_SHARDS = 100_000


class _Pin(StrictModel):
    """Content of `pin.json`."""

    repository: str
    commit_sha: Annotated[str, Field(pattern=f"^{SHA1.pattern}$")]
    within: str
    """Folder of the shards in the repository; empty for the root."""
    shards: Annotated[list[tuple[str, int, str, str]], Field(min_length=1, max_length=MAX_SHARDS)]
    """Name, size in bytes, sha256 and blob id, as in `PinnedFile`, in the order of reading."""


class Shards(NamedTuple):
    """The pinned shards of a corpus."""

    folder: Path
    repository: str
    commit_sha: str
    within: str
    files: tuple[PinnedFile, ...]


def pinned_shards(settings: Mapping[str, Any]) -> Shards | None:
    """Return the pinned shards of a corpus; None before they are pinned.

    Args:
        settings: fields of a `HubCorpus` as plain values.

    Raises:
        EmergenceError: the pin is damaged.
    """
    folder = _folder(settings)
    path = folder / "pin.json"
    try:
        pin = _Pin.model_validate_json(path.read_bytes())
        files = tuple(PinnedFile(*shard) for shard in pin.shards)
        for file in files:
            refuse_odd_file(file)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError, BrokenCheckpoint) as error:
        remedy = "delete it: the shards are pinned again"
        raise EmergenceError(f"The pin of a corpus cannot be used: {error}.", where=path, remedy=remedy) from None
    return Shards(folder, pin.repository, pin.commit_sha, pin.within, files)


def pin_shards(settings: Mapping[str, Any], *, offline: bool = False, client: HubClient | None = None) -> Shards:
    """Pin the shards of a corpus to their commit and hashes, unless they are pinned; nothing is downloaded.

    Args:
        settings: fields of a `HubCorpus` as plain values.
        offline: refuse to ask the hub.
        client: client of another hub; by default the usual one.

    Raises:
        EmergenceError: the hub has no such repository, revision or shards, or does not answer; the study is offline.
    """
    if (there := pinned_shards(settings)) is not None:
        return there
    repository, revision, pattern = settings["repository"], settings["revision"], settings["files"]
    where, folder = f"{repository}@{revision}", _folder(settings)
    if offline:
        remedy = "run once with a network, or name local files with corpus.source: files"
        raise EmergenceError("The corpus is not pinned, and the study is offline.", where=where, remedy=remedy)
    client, within = client or HubClient(kind="dataset"), pattern.rpartition("/")[0]
    try:
        commit_sha = revision if SHA1.fullmatch(revision) else client.revisions(repository).get(revision)
        if commit_sha is None:
            raise EmergenceError(f"The repository has no branch or tag {revision!r}.")
        listed = client.files(repository, commit_sha, within)
        found = sorted((file for file in listed if fnmatchcase(file.name, pattern)), key=lambda file: file.name)
        if not found or len(found) > MAX_SHARDS:
            raise EmergenceError(f"{len(found)} files of the repository fit {pattern!r}.")
        shards = [file._replace(name=PurePosixPath(file.name).name) for file in found]
        for shard in shards:
            refuse_odd_file(shard)
            require_kind(Path(shard.name))
    except SourceUnreachable:
        raise
    except EmergenceError as error:
        remedy = "correct corpus.repository, corpus.revision or corpus.files in the study file"
        raise EmergenceError(error.what, where=where, remedy=remedy) from error
    listed_shards = [(one.name, int(one.n_bytes), one.sha256, one.blob_id) for one in shards]
    pin = _Pin(repository=repository, commit_sha=commit_sha, within=within, shards=listed_shards)
    with clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with replacing_file(folder / "pin.json") as temporary:
            temporary.write_text(pin.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return Shards(folder, repository, commit_sha, within, tuple(shards))


def fetched_shards(
    settings: Mapping[str, Any], report: Report, *, offline: bool = False, client: HubClient | None = None
) -> Iterator[CorpusFile]:
    """Yield the shards in order, each downloaded when it is asked for unless it is there, and compared with its pin.

    Args:
        settings: fields of a `HubCorpus` as plain values.
        report: called with bytes done, total bytes, and a note.
        offline: refuse to download.
        client: client of another hub; by default the usual one.

    Raises:
        EmergenceError: the corpus is not pinned; the hub does not answer or has another content; the disk is full; the
            study is offline and a shard is missing.
    """
    pinned = pinned_shards(settings)
    if pinned is None:
        remedy = "type `emergence probes` or `emergence run` to pin it"
        raise EmergenceError("The corpus is not pinned yet.", where=settings["repository"], remedy=remedy)
    for file in pinned.files:
        yield _fetched(pinned, file, report, offline, client)


def _fetched(pinned: Shards, file: PinnedFile, report: Report, offline: bool, client: HubClient | None) -> CorpusFile:
    path, where = pinned.folder / file.name, f"{pinned.repository}@{pinned.commit_sha[:12]}"
    with clear_disk_errors(path), leased(pinned.folder / f".{file.name}.lock"):
        if not _is_whole(path, file):
            if offline:
                raise EmergenceError(
                    f"{file.name} of the corpus is not downloaded, and the study is offline.",
                    where=where,
                    remedy="set family.offline to false, or unset HF_HUB_OFFLINE",
                )
            arriving = pinned.folder / "arriving"
            arriving.mkdir(exist_ok=True)
            try:
                (client or HubClient(kind="dataset")).download(
                    pinned.repository, pinned.commit_sha, file, arriving, report, within=pinned.within
                )
            except BrokenCheckpoint as error:
                remedy = f"delete {pinned.folder} to pin the present commit"
                raise EmergenceError(error.what, where=where, remedy=remedy) from error
            (arriving / file.name).replace(path)
    return CorpusFile(str(path), file.sha256 or file.blob_id, version_of(path))


def _is_whole(path: Path, file: PinnedFile) -> bool:
    """Return whether a file has the pinned content."""
    try:
        if path.stat().st_size != file.n_bytes:
            return False
        digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.n_bytes)
        with path.open("rb") as content:
            while part := content.read(CHUNK_BYTES):
                digest.update(part)
    except OSError:
        return False
    return digest.hexdigest() == (file.sha256 or file.blob_id)


def _folder(settings: Mapping[str, Any]) -> Path:
    source = "@".join(str(settings[name]) for name in ("repository", "revision", "files"))
    readable = re.sub(r"[^\w.@-]", "--", source)[:80]
    return fetched_corpus(f"{readable}-{hashlib.sha256(source.encode()).hexdigest()[:8]}")
