"""Busy and unreachable hubs: the client retries until its timeout, then raises a clear error."""

import contextlib
import threading
import time
from pathlib import Path

import pytest

from resources.errors import BrokenCheckpoint, EmergenceError, SourceUnreachable
from resources.hub import answer
from resources.hub import client as hub_client
from resources.hub.client import HubClient
from tests.checkpoints.sources.hub_family import MODEL, REPOSITORY, make_source, publish, ref_of, silent
from tests.family import step_folder
from tests.hub.server import HubServer


def statuses(hub: HubServer) -> list[int]:
    return [request.status for request in hub.requests]


def ask_for_branches(endpoint: str, retry_seconds: float = 5.0) -> dict[str, str]:
    return HubClient(endpoint, retry_seconds).revisions(REPOSITORY)


@pytest.mark.parametrize("status", hub_client.BUSY)
def test_a_request_to_a_busy_hub_is_repeated(hub: HubServer, family: Path, tmp_path: Path, status: int) -> None:
    shas = publish(hub, family, 8)
    hub.fail(status, count=2)
    assert ask_for_branches(hub.endpoint) == {"step8": shas[8]}
    assert statuses(hub) == [status, status, 200]
    hub.fail(status, count=1)
    assert len(HubClient(hub.endpoint, 5.0).files(REPOSITORY, shas[8])) == 5
    hub.fail(status, count=1, path_contains="/resolve/")
    source = make_source(hub, tmp_path)
    source.refresh()
    with source.fetch(ref_of(source, 8), silent):
        pass
    assert statuses(hub).count(status) == 4


def test_a_hub_that_fails_for_a_while_is_outlasted(hub: HubServer, family: Path, tmp_path: Path) -> None:
    publish(hub, family, 8)
    hub.fail(500, seconds=0.4)
    source = make_source(hub, tmp_path)
    source.refresh()
    hub.fail(500, seconds=0.4)
    with source.fetch(ref_of(source, 8), silent):
        pass
    assert statuses(hub).count(500) > 4


def test_a_request_is_repeated_after_the_time_that_a_rate_limit_names(hub: HubServer, family: Path) -> None:
    publish(hub, family, 8)
    hub.rate_limit(1, retry_after_seconds=1)
    assert "step8" in ask_for_branches(hub.endpoint)
    first, second = hub.requests
    assert second.moment - first.moment >= 1


@pytest.mark.parametrize("ask", ["refs", "tree", "resolve"])
def test_a_rate_limit_cannot_extend_the_retry_timeout(hub: HubServer, family: Path, tmp_path: Path, ask: str) -> None:
    publish(hub, family, 8)
    source = make_source(hub, tmp_path)
    if ask == "resolve":
        source.refresh()
    hub.rate_limit(1, retry_after_seconds=86_400, path_contains=f"/{ask}")
    began = time.monotonic()
    with pytest.raises(SourceUnreachable, match="does not answer"), contextlib.ExitStack() as stack:
        stack.enter_context(source.fetch(ref_of(source, 8), silent)) if ask == "resolve" else source.refresh()
    assert time.monotonic() - began < 3


def test_patience_ends(hub: HubServer, family: Path, tmp_path: Path) -> None:
    publish(hub, family, 8)
    source = make_source(hub, tmp_path, retry_seconds=0.3)
    source.refresh()
    hub.fail(503)
    began = time.monotonic()
    with (
        pytest.raises(SourceUnreachable, match=r"does not answer for someone/gloss-tiny.*503") as caught,
        source.fetch(ref_of(source, 8), silent),
    ):
        pass
    assert time.monotonic() - began < 1
    assert caught.value.where == hub.endpoint
    assert "continues where it stopped" in caught.value.remedy
    assert not isinstance(caught.value, BrokenCheckpoint)  # or the checkpoint would be left out


def test_a_hub_that_is_away_is_waited_for(hub: HubServer, family: Path) -> None:
    publish(hub, family, 8)
    hub.unreachable()
    with pytest.raises(SourceUnreachable, match="does not answer"):
        ask_for_branches(hub.endpoint, retry_seconds=0.2)
    back = threading.Timer(0.3, hub.reachable_again)
    back.start()
    assert "step8" in ask_for_branches(hub.endpoint)
    back.join()


@pytest.mark.parametrize("ask", ["refs", "tree"])
def test_a_hub_that_never_answers_is_not_waited_for_without_end(
    hub: HubServer, family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    sha = publish(hub, family, 8)[8]
    monkeypatch.setattr(answer, "TIMEOUT_SECONDS", 0.1)
    hub.latency_seconds = 1.5
    client = HubClient(hub.endpoint, retry_seconds=0.2)
    began = time.monotonic()
    with pytest.raises(SourceUnreachable, match="Timeout"):
        client.revisions(REPOSITORY) if ask == "refs" else client.files(REPOSITORY, sha)
    assert time.monotonic() - began < 1.4


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "denies access"), (403, "denies access"), (400, "refuses"), (410, "refuses")],
)
def test_a_refused_request_is_not_repeated(hub: HubServer, family: Path, status: int, said: str) -> None:
    publish(hub, family, 8)
    hub.fail(status)
    with pytest.raises(EmergenceError, match=said) as caught:
        ask_for_branches(hub.endpoint)
    assert type(caught.value) is EmergenceError
    assert REPOSITORY in caught.value.what
    assert caught.value.remedy
    assert len(hub.requests) == 1


def test_files_that_a_hub_lacks_are_named(hub: HubServer, family: Path, tmp_path: Path) -> None:
    sha = publish(hub, family, 8)[8]
    client = HubClient(hub.endpoint, 5.0)
    with pytest.raises(EmergenceError, match="no repository someone/else"):
        client.revisions("someone/else")
    with pytest.raises(BrokenCheckpoint, match="pinned commit no longer exists"):
        client.files(REPOSITORY, "0" * 40)
    source = make_source(hub, tmp_path)
    source.refresh()
    hub.hide(REPOSITORY, sha, "model.safetensors", from_tree=False)
    said = r"lists someone/gloss-tiny model\.safetensors but does not have it"
    with pytest.raises(BrokenCheckpoint, match=said), source.fetch(ref_of(source, 8), silent):
        pass
    assert len(statuses(hub)) == 8


@pytest.mark.parametrize("name", ["a/b/c", "../..", "a b", "", "-a/b", "a/b.git", "a/b?x=1", "a/b#c"])
def test_an_invalid_repository_name_is_not_requested(hub: HubServer, name: str) -> None:
    with pytest.raises(EmergenceError, match="is not the name of a repository") as caught:
        HubClient(hub.endpoint, 0.1).revisions(name)
    assert "family.repository" in caught.value.remedy
    assert hub.requests == []


def test_long_listings_are_read_to_the_end(family: Path) -> None:
    with HubServer(page_size=2) as hub:
        sha = publish(hub, family, 8)[8]
        found = HubClient(hub.endpoint, 5.0).files(REPOSITORY, sha)
        assert {file.name for file in found} == {path.name for path in step_folder(family, MODEL, 8).iterdir()}
        assert len(hub.requests) == 3


def test_the_environment_names_another_hub_and_another_patience(
    hub: HubServer, family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub, family, 8)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("EMERGENCE_HUB_PATIENCE", "0.2")
    assert "step8" in HubClient().revisions(REPOSITORY)
    hub.fail(500)
    began = time.monotonic()
    with pytest.raises(SourceUnreachable):
        HubClient().revisions(REPOSITORY)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("stated", ["", "long", "-1", "nan", "inf", "1e9"])
def test_a_patience_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, stated: str) -> None:
    monkeypatch.setenv("EMERGENCE_HUB_PATIENCE", stated)
    with pytest.raises(EmergenceError, match="EMERGENCE_HUB_PATIENCE"):
        HubClient()
