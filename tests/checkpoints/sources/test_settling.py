"""Folders whose file server has a clock that is ahead: they are watched, and count once they stay the same."""

import time
from pathlib import Path

import pytest

from emergence_assets.checkpoints.sources import settling
from emergence_assets.checkpoints.sources.settling import File, unfinished, watch
from tests.checkpoints.sources.local_family import MODEL, make_source, steps
from tests.family import step_folder

AHEAD_NS = int((time.time() + 7200) * 1e9)
FILES = [File("config.json", 10, 0, AHEAD_NS)]


@pytest.fixture(autouse=True)
def nothing_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_watched", {})


def test_a_folder_of_the_future_counts_after_it_was_watched(tmp_path: Path) -> None:
    assert "in the future" in unfinished(tmp_path, FILES, None, 0.05)
    watch([(tmp_path, FILES)], 0.05)
    assert unfinished(tmp_path, FILES, None, 0.05) == ""


def test_a_folder_of_the_future_that_changes_is_unfinished(tmp_path: Path) -> None:
    watch([(tmp_path, FILES)], 0.05)
    grown = [FILES[0]._replace(n_bytes=11)]
    assert "in the future" in unfinished(tmp_path, grown, None, 0.05)
    watch([(tmp_path, grown)], 0.05)
    assert unfinished(tmp_path, grown, None, 0.05) == ""


def test_a_long_settling_time_is_spread_over_looks(tmp_path: Path) -> None:
    began = time.monotonic()
    watch([(tmp_path, FILES)], 3600)
    assert time.monotonic() - began < 60
    assert "in the future" in unfinished(tmp_path, FILES, None, 3600)


def test_a_source_on_a_server_whose_clock_is_ahead_lists_its_checkpoints(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 7200)
    assert steps(make_source(root, settle_seconds=0.05)) == [0, 8, 64]
    (step_folder(root, MODEL, 8) / "model.safetensors.tmp").touch()
    assert steps(make_source(root, settle_seconds=0.05)) == [0, 64]
