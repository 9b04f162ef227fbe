"""Hubs that are no hubs, or malicious: the client does not crash, wait forever, or follow links elsewhere."""

import contextlib
import gzip
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from emergence_assets.checkpoints.sources.lock_file import read_lock
from resources.errors import EmergenceError, SourceUnreachable
from resources.hub import client as hub_client
from resources.hub.client import HubClient
from resources.hub.pinned_file import PinnedFile
from tests.checkpoints.sources.hub_family import MODEL, REPOSITORY, make_source, publish, silent
from tests.family import step_folder
from tests.hub.server import HubServer

ANYTHING = {"status": 200, "headers": {}, "body": b""}


class Answering:
    """A server that is no hub: it answers every request with the given response."""

    def __init__(self):
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answer: Callable[[str, dict[str, str]], dict[str, Any]] = lambda path, headers: {}
        self.endpoint = ""
        self.pause_seconds = 0.0
        """Pause between the bytes of an answer."""


@pytest.fixture
def server() -> Iterator[Answering]:
    with listening(Answering()) as answering:
        yield answering


@contextmanager
def listening(answering: Answering) -> Iterator[Answering]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): text for name, text in self.headers.items()}
            answering.requests.append((self.path, headers))
            answer = ANYTHING | answering.answer(self.path, headers)
            self.send_response(answer["status"])
            for name, text in (answer["headers"] | {"Content-Length": str(len(answer["body"]))}).items():
                self.send_header(name, text)
            self.end_headers()
            if not answering.pause_seconds:
                self.wfile.write(answer["body"])
                return
            with contextlib.suppress(OSError):  # the client went away
                for byte in answer["body"]:
                    self.wfile.write(bytes([byte]))
                    time.sleep(answering.pause_seconds)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        answering.endpoint = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield answering
        finally:
            listener.shutdown()
            thread.join()


def ask_for_branches(endpoint: str, retry_seconds: float = 5.0) -> dict[str, str]:
    return HubClient(endpoint, retry_seconds).revisions(REPOSITORY)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Log in to this network</html>",
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"branches": null}',
        b'{"branches": [3]}',
        b'{"branches": [{"name": "step8"}]}',
        b"[" * 100_000,
        b"9" * 5000,
    ],
)
def test_a_server_that_is_no_hub_causes_no_crash(server: Answering, body: bytes) -> None:
    server.answer = lambda path, headers: {"body": body}
    client = HubClient(server.endpoint, 5.0)
    with pytest.raises(SourceUnreachable, match="does not behave like a hub") as caught:
        client.revisions(REPOSITORY)
    assert caught.value.where == server.endpoint
    if body != b"[]":  # which is a list without files
        with pytest.raises(SourceUnreachable, match="does not behave like a hub"):
            client.files(REPOSITORY, "a" * 40)


def test_odd_headers_are_no_reason_to_crash(server: Answering) -> None:
    for headers in ({"Content-Encoding": "gzip"}, {"Location": "/"}):
        server.answer = lambda path, asked, headers=headers: {
            "headers": headers,
            "body": b"no gzip",
            "status": 302 if "Location" in headers else 200,
        }
        with pytest.raises(SourceUnreachable):
            ask_for_branches(server.endpoint, retry_seconds=0.1)
    for stated in ("soon", "-1", "1.5", "", "nan", "9" * 400):
        server.answer = lambda path, asked, stated=stated: {"status": 503, "headers": {"Retry-After": stated}}
        with pytest.raises(SourceUnreachable):
            ask_for_branches(server.endpoint, retry_seconds=0.1)


BRANCH = json.dumps({"branches": [{"name": "step8", "targetCommit": "a" * 40}], "tags": []}).encode()


def test_a_compressed_answer_is_not_unpacked(server: Answering, tmp_path: Path) -> None:
    # Twice compressed, kilobytes become gigabytes.
    body = gzip.compress(gzip.compress(BRANCH))
    server.answer = lambda path, headers: {"headers": {"Content-Encoding": "gzip, gzip"}, "body": body}
    with pytest.raises(SourceUnreachable, match="encoded as 'gzip, gzip', although a plain one was requested"):
        ask_for_branches(server.endpoint)
    file = PinnedFile("model.safetensors", len(BRANCH), "a" * 64, "")
    with pytest.raises(SourceUnreachable, match="encoded as 'gzip, gzip'"):
        HubClient(server.endpoint, 5.0).download(REPOSITORY, "a" * 40, file, tmp_path, silent)
    assert {headers["accept-encoding"] for _, headers in server.requests} == {"identity"}


@pytest.mark.parametrize("status", [404, 410, 503])
@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"[" * 100_000, gzip.compress(b"x" * 10**6)], ids=["binary", "deep", "gzip"]
)
def test_the_body_of_an_error_is_not_read(server: Answering, status: int, body: bytes) -> None:
    encoding = {"Content-Encoding": "gzip"} if body.startswith(b"\x1f") else {}
    server.answer = lambda path, headers: {"status": status, "headers": encoding, "body": body}
    with pytest.raises(EmergenceError) as caught:
        ask_for_branches(server.endpoint, retry_seconds=0.1)
    assert str(status) in caught.value.what
    assert "xxx" not in caught.value.what


def test_the_body_of_a_redirection_is_not_read(server: Answering) -> None:
    redirection = {"status": 302, "headers": {"Location": "/there", "Content-Encoding": "gzip"}, "body": b"no gzip"}
    server.answer = lambda path, headers: {"body": BRANCH} if path == "/there" else redirection
    assert ask_for_branches(server.endpoint) == {"step8": "a" * 40}
    server.answer = lambda path, headers: redirection
    with pytest.raises(SourceUnreachable, match="redirects more than 10 times"):
        ask_for_branches(server.endpoint)


def test_pages_that_never_end_are_not_followed_for_ever(server: Answering) -> None:
    link = {"Link": '</api?cursor=again>; rel="next"'}
    server.answer = lambda path, headers: {"headers": link, "body": b"[]"}
    with pytest.raises(SourceUnreachable, match="more than 100 pages"):
        HubClient(server.endpoint, 5.0).files(REPOSITORY, "a" * 40)
    assert len(server.requests) == 100


def test_a_listing_without_end_is_not_kept_in_memory(server: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "MAX_LISTING_BYTES", 1000)
    server.answer = lambda path, headers: {"body": b" " * 10**6 + b'{"branches": []}'}
    with pytest.raises(SourceUnreachable, match="longer than 1000 bytes"):
        ask_for_branches(server.endpoint)


def test_the_next_page_is_requested_from_the_same_host(server: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to another host would receive the user's token."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    def answer(path: str, headers: dict[str, str]) -> dict[str, Any]:
        entry = {"type": "file", "path": f"{len(server.requests)}", "size": 3, "oid": "a" * 40}
        link = {"Link": f'<{elsewhere.endpoint}/api/models/x?cursor=2&limit=5>; rel="next"'}
        return {"headers": link if "cursor" not in path else {}, "body": json.dumps([entry]).encode()}

    with listening(Answering()) as elsewhere:
        server.answer = answer
        found = HubClient(server.endpoint, 5.0).files(REPOSITORY, "b" * 40)
        assert elsewhere.requests == []
    assert found == [PinnedFile("1", 3, "", "a" * 40), PinnedFile("2", 3, "", "a" * 40)]
    path = f"/api/models/{REPOSITORY}/tree/{'b' * 40}"
    assert [path for path, _ in server.requests] == [
        f"{path}?recursive=false&expand=false",
        f"{path}?cursor=2&limit=5",
    ]
    assert all(headers["authorization"] == "Bearer hf_secret" for _, headers in server.requests)


def test_a_server_that_ignores_ranges_sends_all_again(server: Answering, family: Path, tmp_path: Path) -> None:
    content = (step_folder(family, MODEL, 8) / "config.json").read_bytes()
    server.answer = lambda path, headers: {"body": content}
    with HubServer() as hub:
        publish(hub, family, 8)
        source = make_source(hub, tmp_path)
        source.refresh()
        (pin,) = read_lock(source.lock).pins(MODEL, REPOSITORY)
    config = next(file for file in pin.others if file.name == "config.json")
    (tmp_path / "config.json").write_bytes(content[:100])
    HubClient(server.endpoint, 5.0).download(REPOSITORY, "a" * 40, config, tmp_path, silent)
    assert (tmp_path / "config.json").read_bytes() == content
    assert [headers["range"] for _, headers in server.requests] == ["bytes=100-"]
