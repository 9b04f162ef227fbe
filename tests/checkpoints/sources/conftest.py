"""A hub on loopback, a client with a short retry timeout, a writable folder, a cache of 1,000 bytes."""

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
    """Retry after milliseconds; each test sets its own retry timeout."""
    monkeypatch.setattr(hub_client, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(hub_client, "LONGEST_PAUSE_SECONDS", 0.1)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """An empty hub."""
    # With telemetry, every process requests a list from the public hub before its first request.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    with HubServer() as server:
        yield server
        close_session()  # that would be kept for the hub of the next test


@pytest.fixture
def root(family: Path, tmp_path: Path) -> Path:
    """A separate folder with steps 0, 8 and 64 of a model."""
    for step in (0, 8, 64):
        shutil.copytree(step_folder(family, MODEL, step), step_folder(tmp_path / "root", MODEL, step))
    return tmp_path / "root"


@pytest.fixture
def cache(tmp_path: Path) -> CheckpointCache:
    """An empty cache with a short timeout for free space."""
    return CheckpointCache(tmp_path / "cache", 1000, wait_seconds=0.2)
