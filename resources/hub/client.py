"""Client of a model hub: revisions, files of a commit, and downloads that continue where they stopped.

Requests use the session of huggingface_hub, with its headers, redirects and errors, but not its `HfApi`. In version
2.4.0, `list_repo_tree` passes `timeout=None` to every request, so that no time-out of `set_client_factory` applies;
it sleeps as long as `Retry-After` states, follows any number of links to further pages, and sends the token of the
user to any host of such a link; `list_repo_refs` reads an answer of any length. `hf_hub_download` is not used either:
it continues only at multiples of 10 MiB and not after the process was killed, and it compares no hashes.
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
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from resources.errors import BrokenCheckpoint, EmergenceError, SourceUnreachable
from resources.hub.address import Address
from resources.hub.answer import NoHubError, answering
from resources.hub.pinned_file import SHA1, PinnedFile
from resources.progress import Report

RETRY_VARIABLE = "EMERGENCE_HUB_PATIENCE"
"""Environment variable: retry timeout for a hub that does not answer, in seconds; 120 by default."""
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Status codes of answers after which a request is repeated."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
CHUNK_BYTES = 1 << 20
SLOWEST_BYTES, SLOWEST_SECONDS = 64 * 2**10, 60.0
"""An answer that brings fewer bytes in this time is given up: single bytes would hold a command for ever."""
LISTING_SECONDS = 120.0
"""Time for one page of a listing."""
MAX_LISTING_BYTES, MAX_PAGES = 64 * 2**20, 100
"""Limits of a listing; a hub lists a thousand files per page, with a few hundred bytes per file."""
T = TypeVar("T")


class HubClient:
    """Client of one hub."""

    def __init__(
        self,
        endpoint: str | None = None,
        retry_seconds: float | None = None,
        kind: Literal["model", "dataset"] = "model",
    ):
        """Connect to the hub of HF_ENDPOINT by default, else to the default hub of huggingface_hub.

        Raises:
            EmergenceError: the retry timeout in the environment is not a number, or the endpoint is no address.
        """
        # Before the first import, because huggingface_hub reads these variables once. Its protocol for chunks has no
        # hashes to pin, and its progress bar per file would break our progress lines.
        for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY"):
            os.environ.setdefault(name, "1")
        self._address = Address(endpoint or os.environ.get("HF_ENDPOINT"))
        self._kind = kind
        stated = os.environ.get(RETRY_VARIABLE, "120")
        if retry_seconds is None and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", stated):
            raise EmergenceError(
                f"{RETRY_VARIABLE} is {stated!r}.", where=RETRY_VARIABLE, remedy="give a number of seconds"
            )
        self.retry_seconds = retry_seconds if retry_seconds is not None else float(stated)

    def revisions(self, repository: str) -> dict[str, str]:
        """Return the revisions of a repository, branch or tag to commit; a branch overrides a tag of the same name.

        Sends one request.

        Raises:
            EmergenceError: the repository does not exist, or the hub does not answer.
        """

        def request() -> dict[str, str]:
            listed, _ = self._listing(repository, "refs")
            with _reading_an_answer():
                refs = [*listed["tags"], *listed["branches"]]
                revisions = {str(ref["name"]): str(ref["targetCommit"]) for ref in refs}
            if odd := [name for name, commit_sha in revisions.items() if not SHA1.fullmatch(commit_sha)]:
                raise NoHubError(f"revision {odd[0][:80]!r} has no commit")
            return revisions

        return self._retried(request, repository)

    def files(self, repository: str, commit_sha: str, folder: str = "") -> list[PinnedFile]:
        """List the files at the root of a commit, or in a folder of it; one request per thousand files.

        The values are not checked, see `refuse_odd_file`.

        Raises:
            EmergenceError: the commit does not exist, or the hub does not answer.
        """

        def request() -> list[PinnedFile]:
            files: list[PinnedFile] = []
            query: str | None = "recursive=false&expand=false"
            for _ in range(MAX_PAGES):
                page, query = self._listing(repository, f"tree/{commit_sha}" + (f"/{folder}" if folder else ""), query)
                if not isinstance(page, list):
                    raise NoHubError("its list of files is not a list")
                with _reading_an_answer():
                    files += [_hub_file(entry) for entry in page if entry["type"] == "file"]
                if not query:
                    return files
            raise NoHubError(f"its list of files has more than {MAX_PAGES} pages")

        return self._retried(request, f"{repository}@{commit_sha[:12]}")

    def download(
        self, repository: str, commit_sha: str, file: PinnedFile, folder: Path, report: Report, within: str = ""
    ) -> None:
        """Download a file into a folder, continuing a partial file, and compare it with its pin.

        Args:
            repository: repository of the file.
            commit_sha: commit of the file.
            file: pinned file.
            folder: local folder.
            report: called with bytes done, bytes in all, and a note.
            within: folder of the file in the repository; empty for the root.

        Raises:
            BrokenCheckpoint: the hub sends another content than the pinned content, twice.
            EmergenceError: the hub does not have the file or does not answer, or the disk is full.
        """
        path = folder / file.name
        for attempt in (1, 2):
            digest = self._retried(
                lambda: self._stream(repository, commit_sha, file, path, report, within),
                f"{repository} {file.name}",
                lambda: path.stat().st_size if path.exists() else 0,
            )
            expected = file.sha256 or file.blob_id
            if digest == expected:
                return
            path.unlink()
            if attempt == 2:
                raise BrokenCheckpoint(
                    f"{file.name} is not what was pinned: its {'sha256' if file.sha256 else 'blob id'} is "
                    f"{digest[:16]}…, the lock has {expected[:16]}…",
                    where=f"{repository}@{commit_sha[:12]}",
                    remedy="ask the publisher; `emergence checkpoints lock --update` pins the present file",
                )

    def _listing(self, repository: str, what: str, query: str | None = None) -> tuple[Any, str | None]:
        """Request one page of a listing; return its content and the query of the next page."""
        from huggingface_hub import constants
        from huggingface_hub.utils import validate_repo_id

        validate_repo_id(repository)
        url = f"{self._address.url or constants.ENDPOINT}/api/{self._kind}s/{repository}/{what}"
        url += f"?{query}" if query else ""
        content, began = bytearray(), time.monotonic()
        with answering(_session(), url, self._address.headers()) as answer:
            for part in answer.iter_bytes():
                content += part
                if len(content) > MAX_LISTING_BYTES:
                    raise NoHubError(f"its listing is longer than {MAX_LISTING_BYTES} bytes")
                if time.monotonic() - began > LISTING_SECONDS:
                    raise NoHubError(f"its listing takes longer than {LISTING_SECONDS:.0f} s")
            following = answer.links.get("next", {}).get("url", "")
        # Only the query of the link: a hub cannot redirect a request with our token to another host.
        with _reading_an_answer():
            return json.loads(content), urlsplit(following).query or None

    def _stream(
        self, repository: str, commit_sha: str, file: PinnedFile, path: Path, report: Report, within: str
    ) -> str:
        """Append the missing bytes of a file; return the hash of the whole file."""
        from huggingface_hub import hf_hub_url

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
                endpoint=self._address.url,
            )
            headers = self._address.headers()
            if done:
                headers["Range"] = f"bytes={done}-"
            with answering(_session(), url, headers) as answer:
                if done and answer.status_code == 206 and not _continues_at(answer.headers, done):
                    raise NoHubError("it sends another part of the file than it was asked for")
                if done and answer.status_code != 206:
                    # The server sent the whole file, although a range was requested.
                    target.truncate(0)
                    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.n_bytes)
                    done = 0
                reported, pace = done, _Pace(done)
                # Write bytes as they arrive: bytes that wait for a full chunk are lost with the connection.
                for content in answer.iter_bytes():
                    target.write(content)
                    digest.update(content)
                    done += len(content)
                    if done > file.n_bytes:
                        break  # more than the pinned bytes: the hash will differ
                    pace.require(done)
                    if done - reported >= CHUNK_BYTES or done == file.n_bytes:
                        report(done, file.n_bytes, f"fetching {file.name}")
                        reported = done
            target.flush()
            if done < file.n_bytes:
                raise _CutOffError(f"{done} of {file.n_bytes} bytes arrived")
        return digest.hexdigest()

    def _retried(self, request: Callable[[], T], what: str, progress: Callable[[], int] = lambda: 0) -> T:
        """Repeat a request while the hub is busy or unreachable, with growing pauses, for at most `retry_seconds`.

        The time starts again after every attempt with progress, so that a long download does not time out.
        """
        began, pause, furthest = time.monotonic(), FIRST_PAUSE_SECONDS, progress()
        while True:
            try:
                return request()
            except Exception as error:
                again = _pause_before_retry(error)
                if again is None:
                    explained = _as_user_error(error, what, self._address)
                    if explained is error:
                        raise
                    raise explained from error
                if (reached := progress()) > furthest:
                    began, pause, furthest = time.monotonic(), FIRST_PAUSE_SECONDS, reached
                wait = max(again, pause * random.uniform(0.5, 1.0))
                if time.monotonic() - began + wait > self.retry_seconds:
                    raise SourceUnreachable(
                        f"The hub does not answer for {what}: {self._address.without_secrets(_describe(error))}.",
                        where=self._address.shown,
                        remedy="try again later; the download continues where it stopped",
                    ) from error
                time.sleep(wait)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


class _Pace:
    """Time and size of an answer since it was last fast enough."""

    def __init__(self, n_bytes: int):
        self._n_bytes, self._since = n_bytes, time.monotonic()

    def require(self, n_bytes: int) -> None:
        """Raise NoHubError if too few bytes arrived in the time."""
        if n_bytes - self._n_bytes >= SLOWEST_BYTES:
            self._n_bytes, self._since = n_bytes, time.monotonic()
        elif time.monotonic() - self._since > SLOWEST_SECONDS:
            raise NoHubError(f"fewer than {SLOWEST_BYTES} bytes arrived in {SLOWEST_SECONDS:.0f} s")


class _CutOffError(Exception):
    """The connection ended before the end of the file."""


def _session() -> Any:
    """Return the session of huggingface_hub.

    Raises:
        EmergenceError: it cannot be made with the settings of proxies and certificates in the environment.
    """
    from huggingface_hub.utils import get_session

    try:
        return get_session()
    except (OSError, ValueError, ImportError, TypeError) as error:
        raise EmergenceError(
            f"Requests cannot be made with the settings of this environment: {_describe(error)}.",
            remedy="correct the variables of proxies (HTTPS_PROXY, ALL_PROXY) and certificates (SSL_CERT_FILE)",
        ) from error


def _continues_at(headers: Any, start: int) -> bool:
    """Return whether the range of an answer begins where it was asked to."""
    return str(headers.get("Content-Range", "")).startswith(f"bytes {start}-")


@contextmanager
def _reading_an_answer() -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NoHubError(_describe(error)) from error


def _hub_file(entry: Any) -> PinnedFile:
    large = entry.get("lfs") or {}
    n_bytes = entry.get("size")
    sha256 = str(large.get("oid") or "")
    blob_id = "" if sha256 else str(entry.get("oid") or "")
    return PinnedFile(str(entry["path"]), n_bytes if type(n_bytes) is int else -1, sha256, blob_id)


def _pause_before_retry(error: Exception) -> float | None:
    """Return the pause in seconds before a retry, as the server states it; None if a retry is useless."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if "CERTIFICATE_VERIFY_FAILED" in str(error) or isinstance(error, httpx2.UnsupportedProtocol):
        return None
    if isinstance(error, _CutOffError | httpx2.TransportError):
        return 0.0
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code if error.response is not None else 0
        if status in BUSY:
            stated = error.response.headers.get("Retry-After", "0")
            return min(float(stated), 3600.0) if stated.isdecimal() else 0.0
    return None


def _describe(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _as_user_error(error: Exception, what: str, address: Address) -> BaseException:
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
        return error  # an error of the disk
    if isinstance(error, HFValidationError):
        remedy = "correct family.repository in the study file"
        return EmergenceError(f"{what!r} is not the name of a repository.", where=what, remedy=remedy)
    if isinstance(error, NoHubError | httpx2.HTTPError | httpx2.InvalidURL) and not isinstance(error, HfHubHTTPError):
        is_unknown = "CERTIFICATE_VERIFY_FAILED" in str(error)
        return SourceUnreachable(
            f"The server for {what} does not behave like a hub: {address.without_secrets(_describe(error))}.",
            where=address.shown,
            remedy="name the certificate of its authority in SSL_CERT_FILE"
            if is_unknown
            else "correct HF_ENDPOINT, or try again later",
        )
    status: Any = getattr(getattr(error, "response", None), "status_code", None)

    def broken(problem: str, remedy: str) -> BrokenCheckpoint:
        return BrokenCheckpoint(problem, where=what, remedy=remedy)

    if isinstance(error, RemoteEntryNotFoundError):
        return broken(f"The hub lists {what} but does not have it.", "type `emergence checkpoints lock`")
    if isinstance(error, RevisionNotFoundError):
        return broken(f"The pinned commit no longer exists: {what}.", "type `emergence checkpoints lock --update`")
    if isinstance(error, GatedRepoError) or status in (401, 403):
        remedy = "accept its terms on the hub and set HF_TOKEN, or correct the name in the study file"
        if address.withholds_token:
            remedy = "give HF_ENDPOINT with https: a token is not sent to another machine without encryption"
        return EmergenceError(f"The hub denies access to {what}.", where=what, remedy=remedy)
    if status == 416:
        return broken(f"The hub has less of {what} than it lists.", "ask the publisher, or choose another revision")
    if isinstance(error, RepositoryNotFoundError):
        remedy = "correct family.repository and the model names; for a private repository set HF_TOKEN"
        return EmergenceError(f"The hub has no repository {what}.", where=what, remedy=remedy)
    if isinstance(error, HfHubHTTPError):
        remedy = "correct the study file"
        return EmergenceError(
            f"The hub refuses {what}: {address.without_secrets(_describe(error))}.", where=what, remedy=remedy
        )
    return error
