"""A hub on loopback, a client that is impatient, a folder that one can write to, a cache of a thousand bytes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from emergence_assets.checkpoints.sources.cache import CheckpointCache
from resources.hub import client as hub_client
from tests.checkpoints.sources.hub_family import MODEL
from tests.family import step_folder
from tests.hub.server import HubServer


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again after milliseconds; how long patience lasts in all is a matter of each test."""
    monkeypatch.setattr(hub_client, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(hub_client, "LONGEST_PAUSE_SECONDS", 0.1)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with nothing on it."""
    # With telemetry, every process asks the public hub for a list before its first request.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    with HubServer() as server:
        yield server
        close_session()  # of connections that would be kept for the next test's hub


@pytest.fixture
def root(family: Path, tmp_path: Path) -> Path:
    """A folder of one's own with steps 0, 8 and 64 of a model."""
    for step in (0, 8, 64):
        shutil.copytree(step_folder(family, MODEL, step), step_folder(tmp_path / "root", MODEL, step))
    return tmp_path / "root"


@pytest.fixture
def cache(tmp_path: Path) -> CheckpointCache:
    """An empty cache that soon gives up waiting for room."""
    return CheckpointCache(tmp_path / "cache", 1000, wait_seconds=0.2)
