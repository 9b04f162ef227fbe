"""MMLU is downloaded from a hub once, pinned, and refused when it differs from its pin."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest

from emergence_assets.study.load import load_study
from emergence_assets.study.probe_set import MMLUProbes
from emergence_assets.texts.category_maps import category_map
from emergence_assets.texts.probe_download import fetch, probe_file, probe_file_sha256
from emergence_assets.texts.study_texts import probe_recipe, probe_set
from resources.errors import EmergenceError, SourceUnreachable
from resources.files.provenance import canonical_json
from resources.hub.client import HubClient
from tests.hub.server import HubServer

REPOSITORY = "datasets/cais/mmlu"
FILE = "all/test-00000-of-00001.parquet"
SETTINGS = MMLUProbes(source="mmlu").model_dump()


def silent(*_: object) -> None:
    pass


def questions(n_per_subject: int = 40, word: str = "question") -> pl.DataFrame:
    """Make a table like that of the hub; its questions share no 5-gram."""
    subjects = sorted(category_map("mmlu")["area"])
    rows = [(f"{word} {subject} {i}", subject) for subject in subjects for i in range(n_per_subject)]
    frame = pl.DataFrame(rows, schema=["question", "subject"], orient="row")
    # Stored apart from git, like the file on the public hub, so it must not be small.
    choices = [[sha256(question.encode()).hexdigest()] for question in frame["question"]]
    return frame.with_columns(choices=pl.Series(choices), answer=pl.lit(1))


def publish(hub: HubServer, folder: Path, word: str = "question") -> str:
    (folder / "all").mkdir(parents=True, exist_ok=True)
    questions(word=word).write_parquet(folder / FILE)
    (folder / "README.md").write_text("MMLU")
    return hub.add_revision(REPOSITORY, "main", folder)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("EMERGENCE_DATA", str(tmp_path / "data"))
    with HubServer(redirects=True) as server:
        publish(server, tmp_path / "upstream")
        yield server


def client(hub: HubServer) -> HubClient:
    return HubClient(hub.endpoint, retry_seconds=3.0, kind="dataset")


def test_the_test_split_is_fetched_once_and_becomes_a_probe_set(hub: HubServer, tmp_path: Path):
    assert probe_file(SETTINGS) is None
    with pytest.raises(EmergenceError, match="not downloaded"):
        probe_set(canonical_json(SETTINGS))
    path = fetch(SETTINGS, silent, client=client(hub))
    assert path.read_bytes() == (tmp_path / "upstream" / FILE).read_bytes()
    pin = json.loads((path.parent / "pin.json").read_text())
    assert pin["commit_sha"] == hub.branches(REPOSITORY)["main"]
    assert pin["file"][2] == probe_file_sha256(path)
    probes = probe_set(canonical_json(SETTINGS))
    assert probes.levels == ("subject", "area", "domain")
    assert [probes.texts[level].n_unique() for level in probes.levels] == [57, 17, 4]
    assert probes.texts["text"].str.ends_with("\nAnswer:").all()
    assert len(probes.texts) == 57 * 40

    hub.reset_log()
    assert fetch(SETTINGS, silent, client=client(hub)) == path
    assert hub.requests == []


def test_a_branch_that_moves_changes_nothing(hub: HubServer, tmp_path: Path):
    path = fetch(SETTINGS, silent, client=client(hub))
    before = probe_file_sha256(path)
    old = hub.branches(REPOSITORY)["main"]
    publish(hub, tmp_path / "upstream", word="other")
    assert probe_file_sha256(fetch(SETTINGS, silent, client=client(hub))) == before
    # The study may name a commit, which is then requested directly.
    by_commit = SETTINGS | {"revision": old}
    hub.reset_log()
    assert probe_file_sha256(fetch(by_commit, silent, client=client(hub))) == before
    assert not any(request.path.endswith("/refs") for request in hub.requests)
    newest = SETTINGS | {"revision": hub.branches(REPOSITORY)["main"]}
    assert probe_file_sha256(fetch(newest, silent, client=client(hub))) != before


def test_a_download_continues_after_a_lost_connection(hub: HubServer):
    hub.drop_connection_after(5000, 2, "parquet")
    hub.fail(503, count=2)
    path = fetch(SETTINGS, silent, client=client(hub))
    assert len(pl.read_parquet(path)) == 57 * 40
    assert any(request.range.startswith("bytes=") for request in hub.requests)


def test_a_file_that_differs_from_its_pin_is_refused(hub: HubServer):
    hub.corrupt("parquet")
    with pytest.raises(EmergenceError, match="not what was pinned") as caught:
        fetch(SETTINGS, silent, client=client(hub))
    assert "probe_set.path" in caught.value.remedy
    assert probe_file(SETTINGS) is None
    hub.heal()
    assert fetch(SETTINGS, silent, client=client(hub)).exists()


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"repository": "cais/mmmlu"}, "no repository"),
        ({"revision": "test"}, "no branch or tag 'test'"),
        ({"revision": "0" * 40}, "gone|no"),
        ({"file": "all/train.parquet"}, "no file all/train.parquet"),
        ({"file": "train.parquet"}, "no file train.parquet"),
    ],
)
def test_a_wrong_name_is_reported(hub: HubServer, wrong: dict[str, str], what: str):
    with pytest.raises(EmergenceError, match=what) as caught:
        fetch(SETTINGS | wrong, silent, client=client(hub))
    assert "probe_set.repository" in caught.value.remedy


def test_without_a_network_a_local_file_is_the_way_out(hub: HubServer, tmp_path: Path):
    with pytest.raises(EmergenceError, match="offline") as caught:
        fetch(SETTINGS, silent, offline=True, client=client(hub))
    assert "probe_set.path" in caught.value.remedy
    assert hub.requests == []
    hub.unreachable()
    with pytest.raises(SourceUnreachable):
        fetch(SETTINGS, silent, client=HubClient(hub.endpoint, 0.0, kind="dataset"))
    questions().drop("choices").write_csv(tmp_path / "mmlu.csv")
    local = MMLUProbes(source="mmlu", path=str(tmp_path / "mmlu.csv")).model_dump()
    assert fetch(local, silent, offline=True) == tmp_path / "mmlu.csv"
    assert len(probe_set(canonical_json(local)).texts) == 57 * 40


def test_nothing_is_required_of_cells_before_the_fetch(hub: HubServer):
    study = load_study("pythia")
    assert isinstance(study.probe_set, MMLUProbes)
    assert probe_recipe(study) is None
    path = fetch(study.probe_set.model_dump(), silent, client=client(hub))
    recipe = probe_recipe(study)
    assert recipe is not None
    assert recipe["source_sha256"] == probe_file_sha256(path)
