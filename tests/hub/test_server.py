"""The test hub behaves as the public one does towards the real client, and its faults are real ones."""

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import close_session, disable_progress_bars

from tests.hub.server import HubServer, Request

NAME = "someone/gloss-tiny"
WEIGHTS = "model.safetensors"


@pytest.fixture(autouse=True)
def quiet_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # With telemetry, every process asks the public hub for a list before its first request.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    with disable_progress_bars():
        yield
    close_session()


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "published", seed=0)


def make_folder(folder: Path, seed: int, n_bytes: int = 300_000) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"seed": seed}))
    (folder / "tokenizer.json").write_text(" " * 12_000)
    (folder / WEIGHTS).write_bytes(hashlib.shake_128(str(seed).encode()).digest(n_bytes))
    (folder / ".training.lock").touch()
    return folder


def download(hub: HubServer, filename: str, revision: str, to: Path) -> Path:
    return Path(hf_hub_download(NAME, filename, revision=revision, endpoint=hub.endpoint, local_dir=to))


def downloads(hub: HubServer, filename: str = WEIGHTS) -> list[Request]:
    return [request for request in hub.requests if request.method == "GET" and request.path.endswith(filename)]


def test_branches_and_their_commits_are_listed(hub: HubServer, published: Path, tmp_path: Path):
    shas = {
        branch: hub.add_revision(NAME, branch, published if branch != "main" else make_folder(tmp_path / "main", 1))
        for branch in ("step0", "step8", "main")
    }
    refs = HfApi(endpoint=hub.endpoint).list_repo_refs(NAME, include_pull_requests=True)
    assert {ref.name: ref.target_commit for ref in refs.branches} == shas == hub.branches(NAME)
    assert {ref.ref for ref in refs.branches} == {"refs/heads/step0", "refs/heads/step8", "refs/heads/main"}
    assert len(set(shas.values())) == 3
    assert all(re.fullmatch("[0-9a-f]{40}", sha) for sha in shas.values())
    assert refs.tags == refs.pull_requests == []


def test_shas_are_a_function_of_what_was_published(published: Path, tmp_path: Path):
    other = make_folder(tmp_path / "other", 1)

    def publish() -> list[str]:
        with HubServer() as hub:
            return [
                hub.add_revision(NAME, "main", published),
                hub.move_branch(NAME, "main", other),
                hub.move_branch(NAME, "main", published),
                hub.add_revision(NAME, "step8", published),
                hub.add_revision("someone/other", "main", published),
            ]

    first = publish()
    assert publish() == first
    assert len(set(first)) == 5


def test_tree_states_the_hashes_that_files_have(hub: HubServer, published: Path):
    sha = hub.add_revision(NAME, "step8", published)
    entries = {entry.path: entry for entry in HfApi(endpoint=hub.endpoint).list_repo_tree(NAME, revision=sha)}
    assert set(entries) == {"config.json", "tokenizer.json", WEIGHTS}
    for name, entry in entries.items():
        assert isinstance(entry, RepoFile)
        content = (published / name).read_bytes()
        assert entry.size == len(content)
        assert entry.xet_hash is None
        if name == "config.json":
            assert entry.lfs is None
            assert entry.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        else:
            assert entry.lfs is not None
            assert (entry.lfs.sha256, entry.lfs.size) == (hashlib.sha256(content).hexdigest(), len(content))
            assert entry.blob_id != hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def test_long_trees_come_in_pages(published: Path):
    for i in range(25):
        (published / "parts" / f"{i % 2}").mkdir(parents=True, exist_ok=True)
        (published / "parts" / f"{i % 2}" / f"{i:02}.json").write_text(str(i))
    with HubServer(page_size=4) as hub:
        sha = hub.add_revision(NAME, "step8", published)
        api = HfApi(endpoint=hub.endpoint)
        listed = [entry.path for entry in api.list_repo_tree(NAME, revision="step8", recursive=True, expand=True)]
        assert len(listed) == len(set(listed)) == 3 + 25 + 3
        assert [request.path for request in hub.requests] == [f"/api/models/{NAME}/tree/step8"] * 8
        top = {entry.path for entry in api.list_repo_tree(NAME, revision=sha)}
        assert top == {"config.json", "tokenizer.json", WEIGHTS, "parts"}
        assert {entry.path for entry in api.list_repo_tree(NAME, "parts", revision=sha)} == {"parts/0", "parts/1"}
        one = {entry.path for entry in api.list_repo_tree(NAME, "parts/1", revision=sha)}
        assert one == {f"parts/1/{i:02}.json" for i in range(1, 25, 2)}
        with pytest.raises(RemoteEntryNotFoundError):
            list(api.list_repo_tree(NAME, "nowhere", revision=sha))


def test_information_on_a_model_and_on_paths_agrees_with_the_tree(hub: HubServer, published: Path):
    sha = hub.add_revision(NAME, "step8", published)
    api = HfApi(endpoint=hub.endpoint)
    info = api.model_info(NAME, revision="step8", files_metadata=True)
    assert (info.id, info.sha) == (NAME, sha)
    by_name = {entry.path: entry for entry in api.get_paths_info(NAME, [WEIGHTS, "config.json", "none"], revision=sha)}
    assert set(by_name) == {WEIGHTS, "config.json"}
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
    for name, entry in by_name.items():
        assert isinstance(entry, RepoFile)
        assert (siblings[name].size, siblings[name].blob_id, siblings[name].lfs) == (
            entry.size,
            entry.blob_id,
            entry.lfs,
        )
    assert api.model_info(NAME).sha is None
    assert api.repo_exists(NAME)
    assert not api.repo_exists("someone/else")


@pytest.mark.parametrize("redirects", [False, True])
def test_files_arrive_whole_and_only_once(published: Path, tmp_path: Path, redirects: bool):
    with HubServer(redirects=redirects) as hub:
        sha = hub.add_revision(NAME, "step8", published)
        for name in ("config.json", WEIGHTS):
            path = download(hub, name, sha, tmp_path / "to")
            assert path.read_bytes() == (published / name).read_bytes()
        n_bytes = (published / WEIGHTS).stat().st_size
        assert hub.bytes_sent("weights") == n_bytes
        assert hub.bytes_sent() >= n_bytes + (published / "config.json").stat().st_size
        assert {request.status for request in hub.requests if request.method == "HEAD"} == (
            {200, 302} if redirects else {200}
        )
        hub.reset_log()
        for name in ("config.json", WEIGHTS):
            download(hub, name, sha, tmp_path / "to")
        assert hub.requests == []
        download(hub, WEIGHTS, "step8", tmp_path / "to")
        assert {request.method for request in hub.requests} == {"HEAD"}
        assert hub.bytes_sent("all") == hub.bytes_sent("weights") == 0


def test_metadata_of_a_file_is_that_of_the_public_hub(hub: HubServer, published: Path):
    sha = hub.add_revision(NAME, "step8", published)
    for name in ("config.json", WEIGHTS):
        response = httpx2.head(f"{hub.endpoint}/{NAME}/resolve/step8/{name}")
        etag = hub.file_hash(NAME, "step8", name)
        assert response.headers["ETag"] == f'"{etag}"'
        assert response.headers["X-Repo-Commit"] == sha
        assert int(response.headers["Content-Length"]) == (published / name).stat().st_size
        assert response.content == b""
        assert not [header for header in response.headers if "xet" in header.lower()]
    assert response.headers["X-Linked-Etag"] == f'"{hashlib.sha256((published / WEIGHTS).read_bytes()).hexdigest()}"'
    assert int(response.headers["X-Linked-Size"]) == (published / WEIGHTS).stat().st_size


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-", 206, 0, 300_000),
        ("bytes=299999-", 206, 299_999, 300_000),
        ("bytes=5-9", 206, 5, 10),
        ("bytes=5-999999", 206, 5, 300_000),
        ("bytes=-7", 206, 299_993, 300_000),
        ("bytes=300000-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("lines=1-2", 200, 0, 300_000),
    ],
)
def test_ranges_are_cut_out(hub: HubServer, published: Path, asked: str, status: int, first: int, last: int):
    hub.add_revision(NAME, "step8", published)
    response = httpx2.get(f"{hub.endpoint}/{NAME}/resolve/step8/{WEIGHTS}", headers={"Range": asked})
    assert response.status_code == status
    assert response.content == (published / WEIGHTS).read_bytes()[first:last]
    if status == 206:
        assert response.headers["Content-Range"] == f"bytes {first}-{last - 1}/300000"
    if status == 416:
        assert response.headers["Content-Range"] == "bytes */300000"
    assert hub.requests[-1][:5] == ("GET", f"/{NAME}/resolve/step8/{WEIGHTS}", status, last - first, asked)


def test_what_does_not_exist_is_named(hub: HubServer, published: Path, tmp_path: Path):
    hub.add_revision(NAME, "step8", published)
    api = HfApi(endpoint=hub.endpoint)
    with pytest.raises(RepositoryNotFoundError):
        api.list_repo_refs("someone/else")
    with pytest.raises(RevisionNotFoundError):
        list(api.list_repo_tree(NAME, revision="step9"))
    with pytest.raises(RevisionNotFoundError):
        download(hub, WEIGHTS, "0" * 40, tmp_path)
    with pytest.raises(RemoteEntryNotFoundError):
        download(hub, "none.json", "step8", tmp_path)


def test_moved_branch_leaves_its_old_commit(hub: HubServer, published: Path, tmp_path: Path):
    old = hub.add_revision(NAME, "step8", published)
    new = hub.move_branch(NAME, "step8", make_folder(tmp_path / "new", seed=1))
    assert HfApi(endpoint=hub.endpoint).list_repo_refs(NAME).branches[0].target_commit == new != old
    assert download(hub, WEIGHTS, old, tmp_path / "a").read_bytes() == (published / WEIGHTS).read_bytes()
    assert download(hub, WEIGHTS, "step8", tmp_path / "b").read_bytes() == (tmp_path / "new" / WEIGHTS).read_bytes()
    hub.remove_branch(NAME, "step8")
    assert HfApi(endpoint=hub.endpoint).list_repo_refs(NAME).branches == []
    assert download(hub, WEIGHTS, new, tmp_path / "c").read_bytes() == (tmp_path / "new" / WEIGHTS).read_bytes()
    with pytest.raises(RevisionNotFoundError):
        download(hub, WEIGHTS, "step8", tmp_path / "d")
    with pytest.raises(KeyError):
        hub.move_branch(NAME, "step8", published)


def test_dropped_download_goes_on_where_it_stopped(hub: HubServer, tmp_path: Path):
    # The client keeps what has arrived in blocks of 10 MiB: a smaller file is fetched from its beginning again.
    n_bytes = 2 * constants.DOWNLOAD_CHUNK_SIZE + 5
    published = make_folder(tmp_path / "published", 0, n_bytes)
    sha = hub.add_revision(NAME, "step8", published)
    hub.drop_connection_after(n_bytes - 2, path_contains=WEIGHTS)
    assert download(hub, WEIGHTS, sha, tmp_path / "to").read_bytes() == (published / WEIGHTS).read_bytes()
    first, second = downloads(hub)
    assert (first.status, first.bytes_sent, first.range) == (200, n_bytes - 2, "")
    assert (second.status, second.bytes_sent, second.range) == (206, 5, f"bytes={n_bytes - 5}-")


def test_small_download_that_is_dropped_begins_again(hub: HubServer, published: Path, tmp_path: Path):
    sha = hub.add_revision(NAME, "step8", published)
    hub.drop_connection_after(100_000, path_contains=WEIGHTS)
    assert download(hub, WEIGHTS, sha, tmp_path / "to").read_bytes() == (published / WEIGHTS).read_bytes()
    assert [(request.bytes_sent, request.range) for request in downloads(hub)] == [(100_000, ""), (300_000, "")]


def test_reset_download_is_an_error_of_the_client(hub: HubServer, published: Path, tmp_path: Path):
    sha = hub.add_revision(NAME, "step8", published)
    hub.drop_connection_after(100_000, path_contains=WEIGHTS, with_reset=True)
    with pytest.raises(httpx2.ReadError):
        download(hub, WEIGHTS, sha, tmp_path / "to")
    assert download(hub, WEIGHTS, sha, tmp_path / "to").read_bytes() == (published / WEIGHTS).read_bytes()


def test_server_error_in_a_download_is_an_error_of_the_client(hub: HubServer, published: Path, tmp_path: Path):
    sha = hub.add_revision(NAME, "step8", published)
    hub.fail(503, path_contains=WEIGHTS, method="GET")
    with pytest.raises(HfHubHTTPError) as caught:
        download(hub, WEIGHTS, sha, tmp_path / "to")
    assert caught.value.response.status_code == 503
    assert [request.status for request in downloads(hub)] == [503]


def test_rate_limit_in_a_download_is_waited_for(hub: HubServer, published: Path, tmp_path: Path):
    sha = hub.add_revision(NAME, "step8", published)
    hub.rate_limit(1, retry_after_seconds=0, path_contains=WEIGHTS, method="GET")
    assert download(hub, WEIGHTS, sha, tmp_path / "to").read_bytes() == (published / WEIGHTS).read_bytes()
    assert [request.status for request in downloads(hub)] == [429, 200]


def test_rate_limit_is_waited_for(hub: HubServer, published: Path, tmp_path: Path):
    sha = hub.add_revision(NAME, "step8", published)
    hub.rate_limit(1, retry_after_seconds=1, path_contains="/tree/")
    began = time.monotonic()
    assert len(list(HfApi(endpoint=hub.endpoint).list_repo_tree(NAME, revision=sha))) == 3
    assert time.monotonic() - began >= 1
    assert [request.status for request in hub.requests] == [429, 200]
    first, second = hub.requests
    assert second.moment - first.moment >= 1


def test_server_error_is_tried_again(hub: HubServer, published: Path, tmp_path: Path):
    sha = hub.add_revision(NAME, "step8", published)
    hub.fail(500, count=1, path_contains="config.json")
    download(hub, "config.json", sha, tmp_path / "to")
    heads = [request.status for request in hub.requests if request.method == "HEAD"]
    assert heads == [500, 200]


def test_client_does_not_try_refs_again(hub: HubServer, published: Path):
    hub.add_revision(NAME, "step8", published)
    api = HfApi(endpoint=hub.endpoint)
    hub.fail(503, seconds=60, path_contains="/refs")
    with pytest.raises(HfHubHTTPError) as caught:
        api.list_repo_refs(NAME)
    assert caught.value.response.status_code == 503
    assert api.model_info(NAME, revision="step8").id == NAME
    hub.heal()
    hub.rate_limit(1, retry_after_seconds=30)
    with pytest.raises(HfHubHTTPError) as caught:
        api.list_repo_refs(NAME)
    assert (caught.value.response.status_code, caught.value.response.headers["Retry-After"]) == (429, "30")
    assert len(api.list_repo_refs(NAME).branches) == 1


def test_outage_ends_by_itself(hub: HubServer, published: Path):
    hub.add_revision(NAME, "step8", published)
    hub.fail(seconds=0.2)
    url = f"{hub.endpoint}/api/models/{NAME}/refs"
    assert httpx2.get(url).status_code == 500
    time.sleep(0.2)
    assert httpx2.get(url).status_code == 200


def test_corrupt_file_is_served_with_the_listed_length_and_hash(hub: HubServer, published: Path, tmp_path: Path):
    sha = hub.add_revision(NAME, "step8", published)
    hub.corrupt(WEIGHTS)
    received = download(hub, WEIGHTS, sha, tmp_path / "to").read_bytes()
    assert len(received) == (published / WEIGHTS).stat().st_size
    assert hashlib.sha256(received).hexdigest() != hub.file_hash(NAME, sha, WEIGHTS)
    assert received[:1000] == (published / WEIGHTS).read_bytes()[:1000]
    hub.heal()
    assert download(hub, WEIGHTS, sha, tmp_path / "again").read_bytes() == (published / WEIGHTS).read_bytes()


@pytest.mark.parametrize("revision", ["step8", ""])
def test_only_what_was_published_can_be_changed(hub: HubServer, published: Path, revision: str):
    for repository in ("someone/else", NAME):
        with pytest.raises(KeyError):
            hub.hide(repository, revision, WEIGHTS)
        hub.add_revision(NAME, "step9", published)
    with pytest.raises(KeyError):
        hub.hide(NAME, "step9", "none.json")


def test_hidden_file_is_neither_listed_nor_served(hub: HubServer, published: Path, tmp_path: Path):
    hub.add_revision(NAME, "step8", published)
    hub.add_revision(NAME, "step9", published)
    api = HfApi(endpoint=hub.endpoint)
    hub.hide(NAME, "step8", WEIGHTS)
    assert WEIGHTS not in {entry.path for entry in api.list_repo_tree(NAME, revision="step8")}
    assert WEIGHTS in {entry.path for entry in api.list_repo_tree(NAME, revision="step9")}
    with pytest.raises(RemoteEntryNotFoundError):
        download(hub, WEIGHTS, "step8", tmp_path)
    hub.show(NAME, "step8", WEIGHTS)
    hub.hide(NAME, "step8", WEIGHTS, from_tree=False)
    assert WEIGHTS in {entry.path for entry in api.list_repo_tree(NAME, revision="step8")}
    with pytest.raises(RemoteEntryNotFoundError):
        download(hub, WEIGHTS, "step8", tmp_path)


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/../../evil", "..\\evil", "evil\n"])
def test_hostile_names_are_listed_and_served(hub: HubServer, published: Path, name: str):
    sha = hub.add_revision(NAME, "step8", published)
    hub.add_hostile_file(NAME, "step8", name, b"evil")
    assert name in {
        entry.path for entry in HfApi(endpoint=hub.endpoint).list_repo_tree(NAME, revision=sha, recursive=True)
    }
    url = f"{hub.endpoint}/{NAME}/resolve/{sha}/"
    assert httpx2.get(url + name.replace("\n", "%0A").replace("\\", "%5C")).content == b"evil"


def test_unreachable_hub_refuses_and_comes_back(hub: HubServer, published: Path, tmp_path: Path):
    sha = hub.add_revision(NAME, "step8", published)
    api = HfApi(endpoint=hub.endpoint)
    endpoint = hub.endpoint
    assert api.list_repo_refs(NAME).branches  # leaves a connection open
    hub.unreachable()
    with pytest.raises((httpx2.ConnectError, httpx2.RemoteProtocolError)):
        api.list_repo_refs(NAME)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", hub.port)).close()
    hub.reachable_again()
    assert hub.endpoint == endpoint
    assert api.list_repo_refs(NAME).branches[0].target_commit == sha


def test_a_download_without_a_hub_is_an_error(hub: HubServer, published: Path, tmp_path: Path):
    sha = hub.add_revision(NAME, "step8", published)
    hub.fail(404)
    with pytest.raises(LocalEntryNotFoundError):
        download(hub, WEIGHTS, sha, tmp_path)


def test_latency_is_waited(hub: HubServer, published: Path):
    hub.add_revision(NAME, "step8", published)
    hub.latency_seconds = 0.1
    began = time.monotonic()
    HfApi(endpoint=hub.endpoint).list_repo_refs(NAME)
    assert time.monotonic() - began >= 0.1


def test_snapshot_is_the_published_folder(hub: HubServer, published: Path, tmp_path: Path):
    sha = hub.add_revision(NAME, "step8", published)
    to = Path(snapshot_download(NAME, revision=sha, endpoint=hub.endpoint, local_dir=tmp_path / "to", max_workers=4))
    names = {path.name for path in to.iterdir() if not path.name.startswith(".")}
    assert names == {"config.json", "tokenizer.json", WEIGHTS}
    assert all((to / name).read_bytes() == (published / name).read_bytes() for name in names)


def test_a_failure_of_the_hub_itself_fails_the_test(published: Path):
    hub = HubServer()
    hub.add_revision(NAME, "step8", published)
    hub.repositories[NAME].commits = None  # what no switch does  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(httpx2.RemoteProtocolError):
        HfApi(endpoint=hub.endpoint).model_info(NAME, revision="step8")
    hub.unreachable()
    hub.reachable_again()
    with pytest.raises(AssertionError, match="hub itself"):
        hub.__exit__(None)


def test_client_of_the_environment_is_silent_and_asks_nothing_else(hub: HubServer, published: Path, tmp_path: Path):
    sha = hub.add_revision(NAME, "step8", published)
    code = f"from huggingface_hub import hf_hub_download as get; get({NAME!r}, {WEIGHTS!r}, revision={sha!r})"
    chosen = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    process = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | chosen, capture_output=True, text=True, check=True, timeout=60
    )
    assert process.stdout + process.stderr == ""
    assert [(request.method, request.status) for request in hub.requests] == [("HEAD", 200), ("GET", 200)]


def n_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_hub_leaves_no_thread_and_no_socket(published: Path):
    n_before = n_open_files()
    for _ in range(3):
        with HubServer() as hub:
            hub.add_revision(NAME, "step8", published)
            HfApi(endpoint=hub.endpoint).list_repo_refs(NAME)
            close_session()
    deadline = time.monotonic() + 5
    while n_open_files() > n_before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert n_open_files() <= n_before
