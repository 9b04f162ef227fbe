"""Addresses of hubs: no secret is in a message, no token travels unencrypted, impossible settings are named at once."""

import time
from pathlib import Path

import pytest

from resources.errors import EmergenceError
from resources.hub import client as hub_client
from resources.hub.address import Address
from resources.hub.client import HubClient
from resources.hub.pinned_file import PinnedFile
from tests.checkpoints.sources.hub_family import REPOSITORY, silent
from tests.checkpoints.sources.test_hub_impostor import Answering, server

__all__ = ["server"]
SECRET = "hf_secret_of_a_test"


@pytest.mark.parametrize("url", ["hub.example", "hub.example:8080", "ftp://hub.example", "https://", "http://[::1"])
def test_an_address_without_scheme_or_host_is_refused_at_once(url: str) -> None:
    with pytest.raises(EmergenceError, match="The address of the hub is") as refused:
        HubClient(url)
    assert "https://" in refused.value.remedy


def test_the_password_of_an_address_is_in_no_message(server: Answering) -> None:
    with_password = server.endpoint.replace("http://", f"http://me:{SECRET}@")
    server.answer = lambda path, headers: {"status": 400, "body": SECRET.encode()}
    for endpoint in (with_password, with_password.replace("127.0.0.1", "127.0.0.1.invalid")):
        with pytest.raises(EmergenceError) as caught:
            HubClient(endpoint, 0.1).revisions(REPOSITORY)
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value)
    with pytest.raises(EmergenceError) as caught:
        HubClient(f"me:{SECRET}@hub.example")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "is_withheld"),
    [
        ("http://hub.example", True),
        ("http://192.168.0.9:8080", True),
        ("https://hub.example", False),
        ("http://127.0.0.1:8080", False),
        ("http://localhost", False),
        ("http://[::1]:8080", False),
        (None, False),
    ],
)
def test_a_token_is_not_sent_to_another_machine_without_encryption(
    url: str | None, is_withheld: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    headers = Address(url).headers()
    assert (SECRET in headers.get("authorization", "")) == (not is_withheld)


@pytest.mark.parametrize("token", ["hf_tök", "hf_a\u2028b"])
def test_a_token_that_is_none_is_named_without_its_text(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(EmergenceError, match="characters that no token has") as refused:
        HubClient("https://hub.example", 60.0).revisions(REPOSITORY)
    assert token not in str(refused.value)


def test_another_part_than_asked_for_is_refused(server: Answering, tmp_path: Path) -> None:
    pin = PinnedFile("model.bin", 8, "a" * 64, "")
    (tmp_path / "model.bin").write_bytes(b"1234")
    server.answer = lambda path, headers: {
        "status": 206,
        "headers": {"Content-Range": "bytes 0-3/8"},
        "body": b"1234",
    }
    with pytest.raises(EmergenceError, match="another part of the file"):
        HubClient(server.endpoint, 5.0).download(REPOSITORY, "b" * 40, pin, tmp_path, silent)
    assert (tmp_path / "model.bin").read_bytes() == b"1234"


def test_an_answer_that_trickles_is_given_up(
    server: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_client, "SLOWEST_SECONDS", 0.2)
    server.pause_seconds = 0.05
    server.answer = lambda path, headers: {"body": b"x" * 200}
    began = time.monotonic()
    pin = PinnedFile("model.bin", 200, "a" * 64, "")
    with pytest.raises(EmergenceError, match="fewer than"):
        HubClient(server.endpoint, 60.0).download(REPOSITORY, "b" * 40, pin, tmp_path, silent)
    monkeypatch.setattr(hub_client, "LISTING_SECONDS", 0.2)
    with pytest.raises(EmergenceError, match="takes longer"):
        HubClient(server.endpoint, 60.0).revisions(REPOSITORY)
    assert time.monotonic() - began < 5
