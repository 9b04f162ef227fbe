"""A real Dagster web server and daemon on the finished tiny study, and a real Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TINY, copied
from tests.running_ui import UI, running_ui


@pytest.fixture(scope="module")
def ui(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UI]:
    data = tmp_path_factory.mktemp("ui") / "data"
    copied(finished_study, data)
    with running_ui(data, TINY) as running:
        yield running
