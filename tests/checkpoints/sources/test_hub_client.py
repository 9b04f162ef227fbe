"""A download continues after every interruption, and a downloaded file equals its pin."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources.errors import BrokenCheckpoint, EmergenceError
from resources.hub.client import HubClient
from resources.hub.pinned_file import PinnedFile
from tests.checkpoints.sources.hub_family import MODEL, REPOSITORY, make_source, publish, ref_of, silent
from tests.family import step_folder
from tests.hub.repositories import StoredFile
from tests.hub.server import HubServer, Request

WEIGHTS = "model.safetensors"


class Download:
    """A file on a hub, and its destination."""

    def __init__(self, hub: HubServer, family: Path, folder: Path, name: str = WEIGHTS):
        (self.sha,) = publish(hub, family, 8).values()
        self.hub, self.folder, self.name = hub, folder, name
        self.content = (step_folder(family, MODEL, 8) / name).read_bytes()
        stored = StoredFile(name, self.content)
        self.pin = PinnedFile(name, len(self.content), stored.sha256 if stored.is_lfs else "", stored.blob_id)

    def fetch(self, retry_seconds: float = 5.0, report=silent) -> None:
        HubClient(self.hub.endpoint, retry_seconds).download(REPOSITORY, self.sha, self.pin, self.folder, report)

    def is_whole(self) -> bool:
        return (self.folder / self.name).read_bytes() == self.content

    def requests(self) -> list[Request]:
        return [request for request in self.hub.requests if request.path.endswith(self.name)]


@pytest.fixture
def download(hub: HubServer, family: Path, tmp_path: Path) -> Download:
    return Download(hub, family, tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", WEIGHTS])
def test_small_and_large_files_are_compared_with_their_pins(
    hub: HubServer, family: Path, tmp_path: Path, name: str
) -> None:
    download = Download(hub, family, tmp_path, name)
    download.fetch()
    assert download.is_whole()
    hub.reset_log()
    download.fetch()  # existing bytes are hashed and not requested
    assert hub.requests == []
    (tmp_path / name).write_bytes(download.content[:-1] + b"?")
    download.fetch()
    assert download.is_whole()


@pytest.mark.parametrize("with_reset", [False, True])
def test_a_dropped_download_continues_where_it_stopped(download: Download, with_reset: bool) -> None:
    download.hub.drop_connection_after(70_000, path_contains=WEIGHTS, with_reset=with_reset)
    download.fetch()
    assert download.is_whole()
    first, second = download.requests()
    assert (first.status, first.range) == (200, "")
    begin = int(second.range.removeprefix("bytes=").removesuffix("-"))
    assert second.status == 206
    assert begin == 70_000 or (with_reset and 0 < begin <= 70_000)  # a reset may overtake bytes in transit
    assert second.bytes_sent == len(download.content) - begin


def test_patience_begins_anew_with_everything_that_arrives(download: Download) -> None:
    download.hub.drop_connection_after(4000, count=30, path_contains=WEIGHTS)
    began = time.monotonic()
    download.fetch(retry_seconds=0.15)
    assert download.is_whole()
    assert len(download.requests()) == 31
    assert time.monotonic() - began > 0.15


def test_a_killed_download_continues_in_the_next_process(hub: HubServer, family: Path, tmp_path: Path) -> None:
    publish(hub, family, 8)
    source = make_source(hub, tmp_path)
    source.refresh()
    ref = ref_of(source, 8)
    program = (
        "import json, os, signal, sys\n"
        "from pathlib import Path\n"
        "from types import SimpleNamespace\n"
        "from resources.hub import client as hub_client\n"
        "from tests.checkpoints.sources.hub_family import make_source\n"
        "hub_client.CHUNK_BYTES = 10_000\n"
        "def report(done, total, note):\n"
        "    if 'safetensors' in note and done > 50_000:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "source = make_source(SimpleNamespace(endpoint=sys.argv[1]), Path(sys.argv[2]))\n"
        "with source.fetch(source.list('gloss-tiny').checkpoints[0], report):\n"
        "    pass\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, hub.endpoint, str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not source.is_cached(ref)
    hub.reset_log()
    with source.fetch(ref, silent) as folder:
        assert (folder / WEIGHTS).read_bytes() == (step_folder(family, MODEL, 8) / WEIGHTS).read_bytes()
    (request,) = hub.requests  # for the rest of the weights: the small files were complete
    begin = int(request.range.removeprefix("bytes=").removesuffix("-"))
    assert 50_000 < begin < ref.weights_bytes
    assert (request.status, request.bytes_sent) == (206, ref.weights_bytes - begin)


def test_a_download_that_is_broken_off_goes_on(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.hub.client.CHUNK_BYTES", 10_000)
    told: list[tuple[int, int]] = []

    def report(done: int, total: int, note: str) -> None:
        told.append((done, total))
        assert note == f"fetching {WEIGHTS}"
        if len(told) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.fetch(report=report)
    download.fetch(report=report)
    assert download.is_whole()
    assert told == sorted(told)
    assert told[-1] == (len(download.content), len(download.content))
    assert download.requests()[1].range == f"bytes={told[0][0]}-"


def test_wrong_bytes_are_fetched_once_more(download: Download) -> None:
    download.hub.corrupt(WEIGHTS, count=1)
    download.fetch()
    assert download.is_whole()
    assert [request.range for request in download.requests()] == ["", ""]


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_a_file_that_stays_wrong_is_refused_by_name_and_not_kept(
    hub: HubServer, family: Path, tmp_path: Path, name: str
) -> None:
    download = Download(hub, family, tmp_path, name)
    hub.corrupt(name)
    with pytest.raises(BrokenCheckpoint, match=f"{name} is not what was pinned") as caught:
        download.fetch()
    assert len(download.requests()) == 2
    assert not (tmp_path / name).exists()
    assert REPOSITORY in caught.value.where
    assert "lock --update" in caught.value.remedy
    hub.heal()
    download.fetch()
    assert download.is_whole()


def test_wrong_bytes_from_before_do_not_spoil_the_rest(download: Download) -> None:
    (download.folder / WEIGHTS).write_bytes(b"x" * 1000)
    download.fetch()
    assert download.is_whole()
    assert [request.range for request in download.requests()] == ["bytes=1000-", ""]
    (download.folder / WEIGHTS).write_bytes(download.content + b"more")
    download.fetch()
    assert download.is_whole()


@pytest.mark.parametrize(
    ("n_more", "said"), [(-1, "has less"), (1, "not what was pinned"), (50_000_000, "not what was pinned")]
)
def test_a_file_of_another_length_is_refused(download: Download, n_more: int, said: str) -> None:
    served = download.content[:n_more] if n_more < 0 else download.content + b"x" * n_more
    files = download.hub.repositories[REPOSITORY].commits[download.sha].files
    files[WEIGHTS] = StoredFile(WEIGHTS, served)
    with pytest.raises(BrokenCheckpoint, match=said):
        download.fetch()
    if n_more > 1:  # too long a body is not read to its end
        assert sum(request.bytes_sent for request in download.requests()) < n_more


def test_an_error_of_the_report_is_no_error_of_the_hub(download: Download) -> None:
    def report(_done: int, _total: int, _note: str) -> None:
        raise ValueError("of the display")

    with pytest.raises(ValueError, match="of the display"):
        download.fetch(report=report)


def test_a_full_disk_gives_an_error_that_names_it(hub: HubServer, family: Path, small_disk: Path) -> None:
    publish(hub, family, 8)
    (small_disk / "filling").write_bytes(b"x" * 900_000)
    source = make_source(hub, small_disk)
    source.refresh()
    with pytest.raises(EmergenceError, match="disk is full"), source.fetch(ref_of(source, 8), silent):
        pass
    os.unlink(small_disk / "filling")  # noqa: PTH108
    with source.fetch(ref_of(source, 8), silent) as folder:
        assert json.loads((folder / "config.json").read_text())["model_type"] == "gpt_neox"
