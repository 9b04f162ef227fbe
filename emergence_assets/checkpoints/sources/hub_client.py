"""Talking to a hub: branches, files of a commit, downloads that go on where they stopped, patience with a busy server.

Belongs here: every call of huggingface_hub. Does not belong here: which files make a checkpoint, and pins (`hub.py`).

Downloads go through the session of huggingface_hub, with its headers and redirects, but not through `hf_hub_download`:
it goes on at multiples of 10 MiB only, not after the process was killed, and compares no hashes.
"""

import hashlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from emergence_assets.checkpoints.sources.lock_file import PinnedFile
from emergence_assets.checkpoints.sources.source import Report
from emergence_assets.errors import BrokenCheckpoint, EmergenceError, SourceUnreachable

PATIENCE = "EMERGENCE_HUB_PATIENCE"
"""Environment variable: seconds for which a hub that does not answer is asked again; 120 by default."""
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Answers that say: ask again."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 20
T = TypeVar("T")


class HubFile(NamedTuple):
    """A file of a commit as the hub lists it."""

    name: str
    n_bytes: int
    sha256: str
    blob_id: str


class HubClient:
    """One hub."""

    def __init__(self, endpoint: str | None = None, patience_seconds: float | None = None):
        """By default the hub that HF_ENDPOINT names, else that of huggingface_hub."""
        # Before the first import: huggingface_hub reads them once. Its own protocol for chunks has no hashes that we
        # could pin, and a bar per file has no place among our lines.
        for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY"):
            os.environ.setdefault(name, "1")
        self._endpoint = endpoint or os.environ.get("HF_ENDPOINT")
        stated = os.environ.get(PATIENCE, "120")
        self._patience = patience_seconds if patience_seconds is not None else float(stated)

    def branches(self, repository: str) -> dict[str, str]:
        """Branch to commit; one request.

        Raises:
            EmergenceError: there is no such repository, or the hub does not answer.
        """
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self._endpoint)
        refs = self._patiently(lambda: api.list_repo_refs(repository), repository)
        return {ref.name: ref.target_commit for ref in refs.branches}

    def files(self, repository: str, commit_sha: str) -> list[HubFile]:
        """Files at the root of a commit; one request per thousand files.

        Raises:
            EmergenceError: there is no such commit, or the hub does not answer.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        api = HfApi(endpoint=self._endpoint)
        listed = self._patiently(
            lambda: list(api.list_repo_tree(repository, revision=commit_sha, recursive=False)), repository
        )
        return [
            HubFile(entry.path, int(entry.size or 0), entry.lfs.sha256 if entry.lfs else "", str(entry.blob_id or ""))
            for entry in listed
            if isinstance(entry, RepoFile)
        ]

    def download(self, repository: str, commit_sha: str, file: PinnedFile, folder: Path, report: Report) -> None:
        """Bring a file into a folder, going on with what is there, and compare it with its pin.

        Raises:
            BrokenCheckpoint: the hub gives another content than was pinned, twice.
            EmergenceError: the hub does not have it or does not answer, or the disk is full.
        """
        path = folder / file.name
        for attempt in (1, 2):
            found = self._patiently(
                lambda: self._stream(repository, commit_sha, file, path, report), f"{repository} {file.name}"
            )
            expected = file.sha256 or file.blob_id
            if found == expected:
                return
            path.unlink()
            if attempt == 2:
                raise BrokenCheckpoint(
                    f"{file.name} is not what was pinned: its {'sha256' if file.sha256 else 'blob id'} is "
                    f"{found[:16]}…, the lock says {expected[:16]}…",
                    where=f"{repository}@{commit_sha[:12]}",
                    remedy="ask the publisher; `emergence checkpoints lock --update` pins what is there now",
                )

    def _stream(self, repository: str, commit_sha: str, file: PinnedFile, path: Path, report: Report) -> str:
        """Append what is missing of a file; returns the hash of the whole."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.n_bytes)
        done = path.stat().st_size if path.exists() else 0
        if done > file.n_bytes:
            path.unlink()
            done = 0
        with path.open("ab") as target, path.open("rb") as present:
            while content := present.read(CHUNK_BYTES):
                digest.update(content)
            if done == file.n_bytes:
                return digest.hexdigest()
            url = hf_hub_url(repository, file.name, revision=commit_sha, endpoint=self._endpoint)
            headers = build_hf_headers() | {"Accept-Encoding": "identity"}
            if done:
                headers["Range"] = f"bytes={done}-"
            with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_SECONDS) as answer:
                hf_raise_for_status(answer)
                if done and answer.status_code != 206:
                    # The server began anew although it was asked to go on.
                    target.truncate(0)
                    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.n_bytes)
                    done = 0
                for content in answer.iter_bytes(CHUNK_BYTES):
                    target.write(content)
                    digest.update(content)
                    done += len(content)
                    if done > file.n_bytes:
                        break  # more than was pinned: the hash will say so
                    report(done, file.n_bytes, f"fetching {file.name}")
            target.flush()
            if done < file.n_bytes:
                raise _CutOffError(f"{done} of {file.n_bytes} bytes came")
        return digest.hexdigest()

    def _patiently(self, ask: Callable[[], T], what: str) -> T:
        """Ask again while the hub is busy or out of reach, with growing pauses, until patience ends."""
        began, pause = time.monotonic(), FIRST_PAUSE_SECONDS
        while True:
            try:
                return ask()
            except Exception as error:
                again = _again_after(error)
                if again is None:
                    raise _explained(error, what) from error
                wait = max(again, pause * random.uniform(0.5, 1.0))
                if time.monotonic() - began + wait > self._patience:
                    raise SourceUnreachable(
                        f"The hub does not answer for {what}: {_in_words(error)}.",
                        where=self._endpoint or "",
                        remedy="try again later: what was fetched is kept, and goes on from there",
                    ) from error
                time.sleep(wait)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


class _CutOffError(Exception):
    """The connection ended before the file did."""


def _again_after(error: Exception) -> float | None:
    """Seconds after which it is worth asking again, as the server says; None when it is not."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, _CutOffError | httpx2.TransportError):
        return 0.0
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code if error.response is not None else 0
        if status in BUSY:
            stated = error.response.headers.get("Retry-After", "0")
            return min(float(stated), 3600.0) if stated.isdecimal() else 0.0
    return None


def _in_words(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def _explained(error: Exception, what: str) -> BaseException:
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, OSError) and not isinstance(error, HfHubHTTPError):
        return error  # of the disk
    status: Any = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, RemoteEntryNotFoundError):
        return BrokenCheckpoint(
            f"The hub lists {what} and does not have it.", where=what, remedy="type `emergence checkpoints lock`"
        )
    if isinstance(error, RevisionNotFoundError):
        return BrokenCheckpoint(
            f"The commit that was pinned is gone: {what}.",
            where=what,
            remedy="type `emergence checkpoints lock --update`",
        )
    if isinstance(error, GatedRepoError) or status in (401, 403):
        remedy = "accept its terms on the hub and set HF_TOKEN, or correct the name in the study file"
        return EmergenceError(f"The hub does not let us read {what}.", where=what, remedy=remedy)
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        remedy = "correct family.repository and the model names; for a private one set HF_TOKEN"
        return EmergenceError(f"The hub has no repository {what}.", where=what, remedy=remedy)
    if isinstance(error, HfHubHTTPError):
        return EmergenceError(
            f"The hub refuses {what}: {_in_words(error)}.", where=what, remedy="correct the study file"
        )
    return error
