"""A model hub on the loopback interface: the API that `huggingface_hub` calls, over real HTTP, with faults on demand.

with HubServer() as hub:
    sha = hub.add_revision("someone/gloss-tiny", "step8", folder)
    hf_hub_download("someone/gloss-tiny", "config.json", revision=sha, endpoint=hub.endpoint, local_dir=...)
    assert hub.bytes_sent("weights") == 0
"""

import posixpath
import re
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.hub.answers import Listener
from tests.hub.faults import Fault, Faults
from tests.hub.repositories import Commit, Repository, StoredFile, read_folder

_WEIGHTS = re.compile(r"\.(safetensors|bin|pt|pth)$")


class Request(NamedTuple):
    """One line of the request log."""

    method: str
    path: str
    """Path as requested, with percent signs, without the query."""
    status: int
    bytes_sent: int
    """Bytes of the body, without headers."""
    range: str
    """The Range header, as in `bytes=100-`; empty for a whole file."""
    moment: float
    """Time of the monotonic clock at the start of the response."""


class HubServer:
    """A hub that tests fill, read from and disturb; use it as a context manager.

    Args:
        page_size: entries of a tree listing per page; the rest is reached by the Link header.
        redirects: whether large files are answered by a redirect to another host name, as the public hub does.
    """

    def __init__(self, *, page_size: int = 1000, redirects: bool = False):
        self.page_size = page_size
        self.redirects = redirects
        self.latency_seconds = 0.0
        """Delay before every response."""
        self.bytes_per_second = float("inf")
        """Bandwidth of each connection for files."""
        self.repositories: dict[str, Repository] = {}
        self.hostile_files: dict[str, tuple[StoredFile, str]] = {}
        self.faults = Faults()
        self.errors: list[BaseException] = []
        """Unplanned errors in the hub itself."""
        self._log: list[list[Any]] = []
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._serving: threading.Thread | None = None
        self._listen(0)

    @property
    def endpoint(self) -> str:
        """URL without a trailing slash, as HF_ENDPOINT requires."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "HubServer":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.unreachable()
        if kind is None and self.errors:
            raise AssertionError("the hub itself failed") from self.errors[0]

    # Published content

    def add_revision(self, repository: str, branch: str, folder: Path) -> str:
        """Publish the files of a folder as a new commit on the branch; return its sha."""
        return self.repositories.setdefault(repository, Repository(repository)).commit(branch, read_folder(folder))

    def move_branch(self, repository: str, branch: str, folder: Path) -> str:
        """Put an existing branch on a new commit; the old commit stays reachable by its sha."""
        if branch not in self.repositories[repository].branches:
            raise KeyError(branch)
        return self.add_revision(repository, branch, folder)

    def remove_branch(self, repository: str, branch: str) -> None:
        """Remove a branch from the list; its commits stay reachable by sha."""
        del self.repositories[repository].branches[branch]

    def add_tag(self, repository: str, tag: str, revision: str) -> None:
        """Tag the commit of a branch or sha; the tag stays when the branch moves."""
        self.repositories[repository].tags[tag] = self._commit(repository, revision).sha

    def hide(
        self, repository: str, revision: str, filename: str, *, from_tree: bool = True, from_download: bool = True
    ) -> None:
        """Hide a file of a branch's commit, or of a sha: in listings, on download, or both."""
        commit = self._commit(repository, revision)
        if filename not in commit.files:
            raise KeyError(filename)
        if from_tree:
            commit.unlisted.add(filename)
        if from_download:
            commit.unserved.add(filename)

    def show(self, repository: str, revision: str, filename: str) -> None:
        """Undo `hide`."""
        commit = self._commit(repository, revision)
        commit.unlisted.discard(filename)
        commit.unserved.discard(filename)

    def add_hostile_file(self, repository: str, revision: str, name: str, content: bytes) -> None:
        """List a file of any name, such as `../../evil`, and serve it at every path that a client requests for it."""
        commit = self._commit(repository, revision)
        commit.files[name] = StoredFile(name, content)
        for spelling in {revision, commit.sha}:
            path = posixpath.normpath(f"/{repository}/resolve/{spelling}/{name}")
            self.hostile_files[path] = (commit.files[name], commit.sha)

    def branches(self, repository: str) -> dict[str, str]:
        """Map branches to commit shas."""
        return dict(self.repositories[repository].branches)

    def file_hash(self, repository: str, revision: str, filename: str) -> str:
        """Sha256 of a large file, git hash of a small file, as an honest download has."""
        return self._commit(repository, revision).files[filename].etag

    # Faults

    def fail(
        self,
        status: int = 500,
        *,
        seconds: float | None = None,
        count: int | None = None,
        path_contains: str = "",
        method: str = "",
    ) -> None:
        """Answer with an error: for a time, for a number of requests, or until `heal`; empty method: all methods."""
        until = float("inf") if seconds is None else time.monotonic() + seconds
        n_times = float("inf") if count is None else count
        self.faults.add(Fault("status", path_contains, method, n_times, until, status))

    def rate_limit(self, count: int, retry_after_seconds: int, path_contains: str = "", *, method: str = "") -> None:
        """Answer 429 with Retry-After to the next `count` requests."""
        fault = Fault("status", path_contains, method, count, status=429, retry_after_seconds=retry_after_seconds)
        self.faults.add(fault)

    def drop_connection_after(
        self, n_bytes: int, count: int = 1, path_contains: str = "", *, with_reset: bool = False
    ) -> None:
        """Drop the connection after this many bytes of a file; a request for the rest is answered.

        With `with_reset` the connection is reset: clients see another kind of error, and bytes in transit may be lost.
        """
        self.faults.add(Fault("drop", path_contains, count=count, n_bytes=n_bytes, with_reset=with_reset))

    def corrupt(self, path_contains: str, count: int | None = None) -> None:
        """Serve bytes of the same length that do not match the listed hash."""
        self.faults.add(Fault("corrupt", path_contains, count=float("inf") if count is None else count))

    def heal(self) -> None:
        """End all faults, the latency and the limit of bandwidth; hidden files stay hidden."""
        self.faults.clear()
        self.latency_seconds, self.bytes_per_second = 0.0, float("inf")

    def unreachable(self) -> None:
        """Close the listening socket and all connections."""
        if self._listener is None or self._serving is None:
            return
        self._listener.shutdown()
        self._serving.join()
        self._listener.server_close()
        self._listener.close_connections()
        self._listener = self._serving = None

    def reachable_again(self) -> None:
        """Listen on the same port again."""
        if self._listener is None:
            self._listen(self.port)

    # Request log

    @property
    def requests(self) -> list[Request]:
        """The log, in the order of the starts of responses; it contains every byte that a client has received."""
        with self._lock:
            return [Request(*line) for line in self._log]

    def reset_log(self) -> None:
        """Forget the log."""
        with self._lock:
            self._log.clear()

    def bytes_sent(self, kind: str = "files") -> int:
        """Count bytes of bodies sent: of `weights`, of `files` of repositories, or of `all` responses."""
        if kind not in ("weights", "files", "all"):
            raise ValueError(f"kind must be weights, files or all, got {kind!r}")
        paths = {
            "weights": lambda path: _WEIGHTS.search(path) is not None,
            "files": lambda path: "/resolve/" in path,
            "all": lambda path: True,
        }
        return sum(request.bytes_sent for request in self.requests if paths[kind](request.path))

    def _commit(self, repository: str, revision: str) -> Commit:
        commit = self.repositories[repository].resolve(revision)
        if commit is None:
            raise KeyError(revision)
        return commit

    def _listen(self, port: int) -> None:
        self._listener = Listener(("127.0.0.1", port), self)
        self.port = int(self._listener.server_address[1])
        self._serving = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)
        self._serving.start()

    def add_to_log(self, *line: Any) -> list[Any]:
        """Begin a line that `count_bytes` continues; called by the responses."""
        with self._lock:
            self._log.append([*line])
            return self._log[-1]

    def count_bytes(self, line: list[Any], n_bytes: int) -> None:
        """Add to the bytes of a line."""
        with self._lock:
            line[3] += n_bytes
