"""Client of a model hub: revisions, files of a commit, and downloads that continue where they stopped.

Requests use the session of huggingface_hub, with its headers, redirects and errors, but not its `HfApi`. In version
2.4.0, `list_repo_tree` passes `timeout=None` to every request, so that no time-out of `set_client_factory` applies to
it; it sleeps as long as `Retry-After` states, follows links to the next page to any host with the token of the user,
and follows any number of them; `list_repo_refs` reads an answer of any length. Nor `hf_hub_download`, which continues
at multiples of 10 MiB only, not after the process was killed, and compares no hashes.
"""

import hashlib
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

from resources.errors import BrokenCheckpoint, EmergenceError, SourceUnreachable
from resources.hub.pinned_file import SHA1, PinnedFile
from resources.progress import Report

RETRY_VARIABLE = "EMERGENCE_HUB_PATIENCE"
"""Environment variable: time-out of repeated requests to a hub that does not answer, in seconds; 120 by default."""
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Answers that say: ask again."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 20
MAX_LISTING_BYTES, MAX_PAGES = 64 * 2**20, 100
"""A hub lists a thousand files per page, each of a few hundred bytes."""
T = TypeVar("T")


class HubFile(NamedTuple):
    """A file of a commit as the hub lists it; nothing in it is checked."""

    name: str
    n_bytes: int
    """-1 where the hub states no number."""
    sha256: str
    blob_id: str


class HubClient:
    """One hub."""

    def __init__(
        self,
        endpoint: str | None = None,
        retry_seconds: float | None = None,
        kind: Literal["model", "dataset"] = "model",
    ):
        """By default the hub that HF_ENDPOINT names, else that of huggingface_hub, and its repositories of models.

        Raises:
            EmergenceError: the time-out in the environment is no number.
        """
        # Before the first import: huggingface_hub reads them once. Its own protocol for chunks has no hashes that we
        # could pin, and a bar per file has no place among our lines.
        for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY"):
            os.environ.setdefault(name, "1")
        self._endpoint = endpoint or os.environ.get("HF_ENDPOINT")
        self._kind = kind
        stated = os.environ.get(RETRY_VARIABLE, "120")
        if retry_seconds is None and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", stated):
            raise EmergenceError(
                f"{RETRY_VARIABLE} is {stated!r}.", where=RETRY_VARIABLE, remedy="give a number of seconds"
            )
        self.retry_seconds = retry_seconds if retry_seconds is not None else float(stated)

    def revisions(self, repository: str) -> dict[str, str]:
        """Branch or tag to commit; one request. A branch goes before a tag of the same name.

        Raises:
            EmergenceError: there is no such repository, or the hub does not answer.
        """

        def ask() -> dict[str, str]:
            listed, _ = self._listing(repository, "refs")
            with _reading_an_answer():
                refs = [*listed["tags"], *listed["branches"]]
                revisions = {str(ref["name"]): str(ref["targetCommit"]) for ref in refs}
            if odd := [name for name, commit_sha in revisions.items() if not SHA1.fullmatch(commit_sha)]:
                raise _NoHubError(f"revision {odd[0][:80]!r} is at no commit")
            return revisions

        return self._retried(ask, repository)

    def files(self, repository: str, commit_sha: str, folder: str = "") -> list[HubFile]:
        """Files at the root of a commit, or in a folder of it; one request per thousand files.

        Raises:
            EmergenceError: there is no such commit, or the hub does not answer.
        """

        def ask() -> list[HubFile]:
            found: list[HubFile] = []
            query: str | None = "recursive=false&expand=false"
            for _ in range(MAX_PAGES):
                page, query = self._listing(repository, f"tree/{commit_sha}" + (f"/{folder}" if folder else ""), query)
                if not isinstance(page, list):
                    raise _NoHubError("its list of files is none")
                with _reading_an_answer():
                    found += [_hub_file(entry) for entry in page if entry["type"] == "file"]
                if not query:
                    return found
            raise _NoHubError(f"its list of files has more than {MAX_PAGES} pages")

        return self._retried(ask, f"{repository}@{commit_sha[:12]}")

    def download(
        self, repository: str, commit_sha: str, file: PinnedFile, folder: Path, report: Report, within: str = ""
    ) -> None:
        """Bring a file into a folder, going on with what is there, and compare it with its pin.

        Args:
            repository: where it is.
            commit_sha: of which commit.
            file: which one.
            folder: on this machine.
            report: called with bytes done, bytes in all, and a note.
            within: folder of the repository, where it does not lie at the root.

        Raises:
            BrokenCheckpoint: the hub gives another content than was pinned, twice.
            EmergenceError: the hub does not have it or does not answer, or the disk is full.
        """
        path = folder / file.name
        for attempt in (1, 2):
            found = self._retried(
                lambda: self._stream(repository, commit_sha, file, path, report, within),
                f"{repository} {file.name}",
                lambda: path.stat().st_size if path.exists() else 0,
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

    def _listing(self, repository: str, what: str, query: str | None = None) -> tuple[Any, str | None]:
        """One page of a listing, and the query of the next page; one request."""
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status, validate_repo_id

        validate_repo_id(repository)
        url = f"{self._endpoint or constants.ENDPOINT}/api/{self._kind}s/{repository}/{what}"
        url += f"?{query}" if query else ""
        content = bytearray()
        with get_session().stream("GET", url, headers=build_hf_headers(), timeout=TIMEOUT_SECONDS) as answer:
            hf_raise_for_status(answer)
            for part in answer.iter_bytes(CHUNK_BYTES):
                content += part
                if len(content) > MAX_LISTING_BYTES:
                    raise _NoHubError(f"its listing is longer than {MAX_LISTING_BYTES} bytes")
            following = answer.links.get("next", {}).get("url", "")
        # Of the link only the query: neither a mirror nor anything else makes us ask another place with our token.
        with _reading_an_answer():
            return json.loads(content), urlsplit(following).query or None

    def _stream(
        self, repository: str, commit_sha: str, file: PinnedFile, path: Path, report: Report, within: str
    ) -> str:
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
            url = hf_hub_url(
                repository,
                file.name,
                subfolder=within or None,
                repo_type=self._kind,
                revision=commit_sha,
                endpoint=self._endpoint,
            )
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
                told = done
                # As it arrives: what waits for a chunk to become full is lost when the connection is.
                for content in answer.iter_bytes():
                    target.write(content)
                    digest.update(content)
                    done += len(content)
                    if done > file.n_bytes:
                        break  # more than was pinned: the hash will say so
                    if done - told >= CHUNK_BYTES or done == file.n_bytes:
                        report(done, file.n_bytes, f"fetching {file.name}")
                        told = done
            target.flush()
            if done < file.n_bytes:
                raise _CutOffError(f"{done} of {file.n_bytes} bytes came")
        return digest.hexdigest()

    def _retried(self, ask: Callable[[], T], what: str, progress: Callable[[], int] = lambda: 0) -> T:
        """Repeat a request while the hub is busy or out of reach, with growing pauses, until `retry_seconds` are over.

        The time begins again with every attempt that made progress, so that a long download is no time-out.
        """
        began, pause, furthest = time.monotonic(), FIRST_PAUSE_SECONDS, progress()
        while True:
            try:
                return ask()
            except Exception as error:
                again = _pause_before_retry(error)
                if again is None:
                    explained = _as_user_error(error, what, self._endpoint or "")
                    if explained is error:
                        raise
                    raise explained from error
                if (reached := progress()) > furthest:
                    began, pause, furthest = time.monotonic(), FIRST_PAUSE_SECONDS, reached
                wait = max(again, pause * random.uniform(0.5, 1.0))
                if time.monotonic() - began + wait > self.retry_seconds:
                    raise SourceUnreachable(
                        f"The hub does not answer for {what}: {_describe(error)}.",
                        where=self._endpoint or "",
                        remedy="try again later: what was fetched is kept, and goes on from there",
                    ) from error
                time.sleep(wait)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


class _CutOffError(Exception):
    """The connection ended before the file did."""


class _NoHubError(Exception):
    """What answers does not talk like a hub."""


@contextmanager
def _reading_an_answer() -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _NoHubError(_describe(error)) from error


def _hub_file(entry: Any) -> HubFile:
    large = entry.get("lfs") or {}
    n_bytes = entry.get("size")
    n_bytes = n_bytes if type(n_bytes) is int else -1
    return HubFile(str(entry["path"]), n_bytes, str(large.get("oid") or ""), str(entry.get("oid") or ""))


def _pause_before_retry(error: Exception) -> float | None:
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


def _describe(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def _as_user_error(error: Exception, what: str, where: str) -> BaseException:
    import httpx2
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
    if isinstance(error, HFValidationError):
        remedy = "correct family.repository in the study file"
        return EmergenceError(f"{what!r} is no name of a repository.", where=what, remedy=remedy)
    if isinstance(error, _NoHubError | httpx2.HTTPError | httpx2.InvalidURL) and not isinstance(error, HfHubHTTPError):
        return SourceUnreachable(
            f"What answers for {what} does not talk like a hub: {_describe(error)}.",
            where=where,
            remedy="correct HF_ENDPOINT, or try again later",
        )
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
    if status == 416:
        return BrokenCheckpoint(
            f"The hub has less of {what} than it lists.",
            where=what,
            remedy="ask the publisher, or take another revision",
        )
    if isinstance(error, RepositoryNotFoundError):
        remedy = "correct family.repository and the model names; for a private one set HF_TOKEN"
        return EmergenceError(f"The hub has no repository {what}.", where=what, remedy=remedy)
    if isinstance(error, HfHubHTTPError):
        return EmergenceError(
            f"The hub refuses {what}: {_describe(error)}.", where=what, remedy="correct the study file"
        )
    return error
