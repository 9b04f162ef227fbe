"""Shards of a corpus on a hub are pinned once, fetched as far as they are read, and refused when they are others."""

import gzip
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from emergence_assets.study.corpus import HubCorpus
from emergence_assets.texts.corpus.documents import documents
from emergence_assets.texts.corpus.shards import fetched_shards, pin_shards, pinned_shards
from resources.errors import EmergenceError, SourceUnreachable
from resources.hub.client import HubClient
from tests.hub.server import HubServer

REPOSITORY = "datasets/someone/pile"
SETTINGS = HubCorpus(source="hub", repository="someone/pile", files="train/*.jsonl.gz").model_dump()
N_SHARDS, N_DOCUMENTS = 4, 30


def silent(*_: object) -> None:
    pass


def document(shard: int, number: int) -> str:
    return f"document {number} of shard {shard} " + "some words " * 40


def publish(hub: HubServer, folder: Path, *, first_shard: int = 0) -> str:
    (folder / "train").mkdir(parents=True, exist_ok=True)
    for shard in range(N_SHARDS):
        rows = [json.dumps({"text": document(first_shard + shard, n)}) for n in range(N_DOCUMENTS)]
        packed = gzip.compress("\n".join(rows).encode(), mtime=0)
        (folder / f"train/part-{shard:02d}.jsonl.gz").write_bytes(packed)
    (folder / "train/README.md").write_text("shards")
    return hub.add_revision(REPOSITORY, "main", folder)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("EMERGENCE_DATA", str(tmp_path / "data"))
    with HubServer(redirects=True) as server:
        publish(server, tmp_path / "upstream")
        yield server


def client(hub: HubServer) -> HubClient:
    return HubClient(hub.endpoint, retry_seconds=1.0, kind="dataset")


def read(hub: HubServer, n_documents: int | None = None) -> list[str]:
    return list(islice(documents(fetched_shards(SETTINGS, silent, client=client(hub)), "text"), n_documents))


def fetched(hub: HubServer) -> list[str]:
    return sorted({request.path.rpartition("/")[2] for request in hub.requests if "/resolve/" in request.path})


def test_shards_are_pinned_without_a_download_and_read_in_the_order_of_their_names(hub: HubServer) -> None:
    assert pinned_shards(SETTINGS) is None
    pinned = pin_shards(SETTINGS, client=client(hub))
    assert pinned.commit_sha == hub.branches(REPOSITORY)["main"]
    assert [file.name for file in pinned.files] == [f"part-{n:02d}.jsonl.gz" for n in range(N_SHARDS)]
    assert fetched(hub) == []
    assert pinned_shards(SETTINGS) == pinned
    expected = [document(shard, n).strip() for shard in range(N_SHARDS) for n in range(N_DOCUMENTS)]
    assert [text.strip() for text in read(hub)] == expected


def test_no_more_shards_are_fetched_than_are_read_and_none_twice(hub: HubServer) -> None:
    pin_shards(SETTINGS, client=client(hub))
    read(hub, N_DOCUMENTS + 1)
    assert fetched(hub) == ["part-00.jsonl.gz", "part-01.jsonl.gz"]
    hub.reset_log()
    read(hub, N_DOCUMENTS + 1)
    assert hub.requests == []
    read(hub, 2 * N_DOCUMENTS + 1)
    assert fetched(hub) == ["part-02.jsonl.gz"]


def test_a_branch_that_moves_changes_nothing(hub: HubServer, tmp_path: Path) -> None:
    pinned = pin_shards(SETTINGS, client=client(hub))
    read(hub, 1)
    publish(hub, tmp_path / "upstream", first_shard=100)
    assert pin_shards(SETTINGS, client=client(hub)) == pinned
    assert read(hub)[-1].strip() == document(N_SHARDS - 1, N_DOCUMENTS - 1).strip()


def test_without_a_network_what_is_there_is_read_and_the_rest_is_named(hub: HubServer) -> None:
    with pytest.raises(EmergenceError, match="not pinned, and the study is offline"):
        pin_shards(SETTINGS, offline=True)
    with pytest.raises(EmergenceError, match="not pinned yet"):
        next(fetched_shards(SETTINGS, silent))
    pin_shards(SETTINGS, client=client(hub))
    read(hub, 1)
    files = fetched_shards(SETTINGS, silent, offline=True)
    assert next(files).path.endswith("part-00.jsonl.gz")
    with pytest.raises(EmergenceError, match=r"part-01\.jsonl\.gz of the corpus is not downloaded") as caught:
        next(files)
    assert "offline" in str(caught.value.remedy)


def test_an_altered_shard_is_fetched_again(hub: HubServer) -> None:
    folder = pin_shards(SETTINGS, client=client(hub)).folder
    before = read(hub, 3)
    path = folder / "part-00.jsonl.gz"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert read(hub, 3) == before
    assert path.read_bytes() == content


def test_a_shard_that_is_gone_at_its_commit_ends_in_a_message(hub: HubServer) -> None:
    pinned = pin_shards(SETTINGS, client=client(hub))
    commit = hub.repositories[REPOSITORY].commits[pinned.commit_sha]
    commit.unserved.add("train/part-01.jsonl.gz")
    with pytest.raises(EmergenceError, match=r"lists .* but does not have it") as caught:
        read(hub)
    assert str(pinned.folder) in str(caught.value.remedy)


def test_a_hub_that_does_not_answer_keeps_what_arrived(hub: HubServer) -> None:
    pin_shards(SETTINGS, client=client(hub))
    read(hub, 1)
    hub.unreachable()
    with pytest.raises(SourceUnreachable):
        read(hub)
    assert len(read(hub, N_DOCUMENTS)) == N_DOCUMENTS


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"files": "train/*.parquet"}, "0 files of the repository fit"),
        ({"files": "train/*.md"}, "ends in '.md'"),
        ({"files": "elsewhere/*.jsonl"}, "hub"),
        ({"revision": "v2"}, "no branch or tag 'v2'"),
        ({"repository": "someone/other"}, "no repository"),
    ],
    ids=str,
)
def test_a_corpus_that_is_not_there_is_refused_with_the_field(
    hub: HubServer, change: dict[str, str], what: str
) -> None:
    with pytest.raises(EmergenceError, match=what) as caught:
        pin_shards(SETTINGS | change, client=client(hub))
    assert "corpus." in str(caught.value.remedy)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"repository": "x"}'])
def test_a_damaged_pin_is_refused_with_a_way_out(hub: HubServer, content: bytes) -> None:
    path = pin_shards(SETTINGS, client=client(hub)).folder / "pin.json"
    path.write_bytes(content)
    with pytest.raises(EmergenceError, match="cannot be used") as caught:
        pinned_shards(SETTINGS)
    assert "delete it" in str(caught.value.remedy)


@pytest.mark.parametrize("files", ["../x/*.jsonl", "/x/*.jsonl", "*/x.jsonl", ""])
def test_a_glob_of_folders_is_refused(files: str) -> None:
    with pytest.raises(ValueError, match="files"):
        HubCorpus(source="hub", repository="someone/pile", files=files)


def test_a_full_disk_ends_in_a_message_and_the_shard_arrives_when_there_is_room(
    hub: HubServer, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMERGENCE_DATA", str(small_disk / "data"))
    text = Random(0).randbytes(300_000).hex()
    (tmp_path / "upstream/train/part-00.jsonl.gz").write_bytes(gzip.compress(json.dumps({"text": text}).encode()))
    hub.add_revision(REPOSITORY, "main", tmp_path / "upstream")
    pin_shards(SETTINGS, client=client(hub))
    (small_disk / "others").write_bytes(bytes(900_000))
    with pytest.raises(EmergenceError, match="disk is full") as caught:
        read(hub, 1)
    assert "part-00" in caught.value.where
    shards = pinned_shards(SETTINGS)
    assert shards is not None
    assert not (shards.folder / "part-00.jsonl.gz").exists()
    (small_disk / "others").unlink()
    assert read(hub, 1) == [text]
