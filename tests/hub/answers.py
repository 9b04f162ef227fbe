"""HTTP responses of the test hub: listings, files, ranges, redirects, refusals, and broken connections."""

import contextlib
import http.server
import json
import posixpath
import re
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from tests.hub.faults import Fault
from tests.hub.repositories import Commit, Repository, StoredFile

if TYPE_CHECKING:
    from tests.hub.server import HubServer

_CHUNK_BYTES = 64 * 1024
_RESOLVE = re.compile(r"/(?P<repository>.+?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_API = re.compile(
    r"/api/(?P<kind>model|dataset)s/(?P<repository>[^/]+(?:/[^/]+)?)"
    r"(?:/(?P<verb>refs|tree|revision|paths-info)(?:/(?P<revision>[^/]+)(?:/(?P<path>.*))?)?)?"
)


class Listener(http.server.ThreadingHTTPServer):
    """The listening socket and its connections."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], hub: "HubServer"):
        self.hub = hub
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        with self._connections_lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        # A client that disconnects during a response is no failure of the hub.
        if error is not None and not isinstance(error, ConnectionError):
            self.hub.errors.append(error)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:
        pass  # the hub has a log of its own

    def do_GET(self) -> None:
        self._answer_request()

    def do_HEAD(self) -> None:
        self._answer_request()

    def do_POST(self) -> None:
        self._answer_request()

    def _answer_request(self) -> None:
        hub = self.server.hub
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        if hub.latency_seconds:
            time.sleep(hub.latency_seconds)
        if fault := hub.faults.take("status", self.command, unquote(url.path)):
            headers = {"X-Error-Message": "planted fault"}
            if fault.retry_after_seconds is not None:
                headers["Retry-After"] = str(fault.retry_after_seconds)
            self._send_json({"error": "planted fault"}, fault.status, headers)
        elif found := hub.hostile_files.get(posixpath.normpath(unquote(url.path))):
            self._send_file(*found)
        elif match := _RESOLVE.fullmatch(url.path):
            self._resolve(*map(unquote, match.group("repository", "revision", "path")))
        elif match := _API.fullmatch(url.path):
            self._api({key: unquote(text or "") for key, text in match.groupdict().items()}, query, form)
        else:
            self._send_json({"error": "Not Found"}, 404)

    def _find(self, repository: str, revision: str) -> tuple[Repository, Commit | None] | None:
        """Find the repository and commit of a request; None when the 404 response has been sent."""
        found = self.server.hub.repositories.get(repository)
        if found is None:
            self._refuse("RepoNotFound", "Repository not found")
            return None
        commit = found.resolve(revision or "main")
        if commit is None and revision:
            self._refuse("RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return found, commit

    def _refuse(self, code: str, message: str, **headers: str) -> None:
        headers = {key.replace("_", "-"): text for key, text in headers.items()}
        self._send_json({"error": message}, 404, {"X-Error-Code": code, "X-Error-Message": message, **headers})

    def _resolve(self, name: str, revision: str, path: str) -> None:
        if (found := self._find(name, revision)) is None:
            return
        _, commit = found
        assert commit is not None
        file = commit.served(path)
        if file is None:
            self._refuse("EntryNotFound", "Entry not found", X_Repo_Commit=commit.sha)
        elif self.server.hub.redirects and file.is_lfs and not self.headers["Host"].startswith("localhost"):
            location = f"http://localhost:{self.server.hub.port}{self.path}"
            self._send_json({}, 302, {"Location": location, **_file_headers(file, commit.sha)})
        else:
            self._send_file(file, commit.sha)

    def _api(self, asked: dict[str, str], query: dict[str, str], form: dict[str, list[str]]) -> None:
        verb, revision = asked["verb"], asked["revision"]
        # The files of a data set have its name in their URL.
        name = asked["repository"] if asked["kind"] == "model" else f"datasets/{asked['repository']}"
        if (found := self._find(name, revision)) is None:
            return
        repository, commit = found
        if verb == "refs":
            branches, tags = (
                [
                    {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha}
                    for name, sha in sorted(refs.items())
                ]
                for kind, refs in (("heads", repository.branches), ("tags", repository.tags))
            )
            self._send_json({"branches": branches, "converts": [], "tags": tags, "pullRequests": []})
        elif verb in ("", "revision"):
            self._send_json(_model_info(repository, commit, with_sizes=query.get("blobs") == "true"))
        elif commit is None:
            self._refuse("RevisionNotFound", "Invalid rev id")
        elif verb == "tree":
            self._tree(commit, asked["path"], query)
        else:
            wanted = {path.strip("/") for path in form.get("paths", [])}
            self._send_json([entry for entry in commit.tree(recursive=True) if entry["path"] in wanted])

    def _tree(self, commit: Commit, folder: str, query: dict[str, str]) -> None:
        is_expanded = query.get("expand") == "true"
        entries = commit.tree(folder, recursive=query.get("recursive") == "true")
        if folder and not entries:
            self._refuse("EntryNotFound", f"{folder} does not exist", X_Repo_Commit=commit.sha)
            return
        if is_expanded:
            last_commit = {"id": commit.sha, "title": "Publish", "date": "2024-01-01T00:00:00.000Z"}
            entries = [{**entry, "lastCommit": last_commit} for entry in entries]
        first = int(query.get("cursor", 0))
        last = first + min(self.server.hub.page_size, 50 if is_expanded else 1000)
        headers = {}
        if last < len(entries):
            following = urlencode({**query, "cursor": last})
            url = f"{self.server.hub.endpoint}{urlsplit(self.path).path}?{following}"
            headers["Link"] = f'<{url}>; rel="next"'
        self._send_json(entries[first:last], headers=headers)

    def _send_json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self._send(status, body, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, None)

    def _send_file(self, file: StoredFile, commit_sha: str) -> None:
        content, n_bytes = file.content, len(file.content)
        path = unquote(urlsplit(self.path).path)
        is_download = self.command == "GET"
        if is_download and self.server.hub.faults.take("corrupt", "GET", path):
            # Weights begin with a header: only data is altered, so that nothing else looks wrong.
            middle = n_bytes * 3 // 4
            altered = bytes(byte ^ 1 for byte in content[middle : middle + 64])
            content = content[:middle] + altered + content[middle + 64 :]
        headers = _file_headers(file, commit_sha)
        status, first, last = 200, 0, n_bytes
        if is_download and (match := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))):
            first, last = _range(match, n_bytes)
            if first >= last:
                self._send(416, b"", {"Content-Range": f"bytes */{n_bytes}"}, None)
                return
            status = 206
            headers["Content-Range"] = f"bytes {first}-{last - 1}/{n_bytes}"
        drop = self.server.hub.faults.take("drop", "GET", path) if is_download else None
        self._send(status, content[first:last], headers, drop)

    def _send(self, status: int, body: bytes, headers: dict[str, str], drop: Fault | None) -> None:
        hub, path = self.server.hub, urlsplit(self.path).path
        line = hub.add_to_log(self.command, path, status, 0, self.headers.get("Range", ""), time.monotonic())
        self.send_response(status)
        for key, text in headers.items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        body = body[: drop.n_bytes] if drop else body
        for first in range(0, len(body), _CHUNK_BYTES):
            chunk = body[first : first + _CHUNK_BYTES]
            hub.count_bytes(
                line, len(chunk)
            )  # before it is sent, so that a client that has received it finds it counted
            self.wfile.write(chunk)
            time.sleep(len(chunk) / hub.bytes_per_second)
        if drop:
            self.close_connection = True
            if drop.with_reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()


def _file_headers(file: StoredFile, commit_sha: str) -> dict[str, str]:
    headers = {
        "Content-Type": "application/octet-stream",
        "X-Repo-Commit": commit_sha,
        "ETag": f'"{file.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(Path(file.path).name)}",
    }
    if file.is_lfs:
        headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
    return headers


def _range(match: re.Match[str], n_bytes: int) -> tuple[int, int]:
    """Parse a Range header: first byte, and last byte + 1."""
    first, last = match.groups()
    if first:
        return int(first), min(int(last) + 1, n_bytes) if last else n_bytes
    return max(0, n_bytes - int(last)) if last else n_bytes, n_bytes


def _model_info(repository: Repository, commit: Commit | None, *, with_sizes: bool) -> dict[str, Any]:
    return {
        "_id": repository.name,
        "id": repository.name,
        "modelId": repository.name,
        "author": repository.name.partition("/")[0],
        "sha": commit.sha if commit else None,
        "lastModified": "2024-01-01T00:00:00.000Z",
        "createdAt": "2024-01-01T00:00:00.000Z",
        "private": False,
        "gated": False,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": [file.sibling(with_sizes) for file in commit.listed()] if commit else [],
    }
