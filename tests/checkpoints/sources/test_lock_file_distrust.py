"""Any content of a lock file is read as a lock or refused with a remedy, without side effects."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emergence_assets.checkpoints.sources import lock_file
from emergence_assets.checkpoints.sources.lock_file import Lock, read_lock, write_lock
from emergence_assets.study.strict import MOST
from resources.errors import EmergenceError
from resources.hub.pinned_file import MAX_FILE_BYTES
from tests.checkpoints.sources.pins import LOCK


def plain(tmp_path: Path) -> Any:
    """Return the lock as plain JSON values."""
    write_lock(tmp_path / "sound.json", LOCK)
    return json.loads((tmp_path / "sound.json").read_text())


def read_changed(tmp_path: Path, place: list[Any], value: Any) -> Lock | None:
    """Read the lock with another value in one place."""
    record = plain(tmp_path)
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = tmp_path / "lock.json"
    path.write_text(json.dumps(record))
    return read_lock(path)


CHECKPOINTS: list[Any] = ["models", "gloss-tiny", "checkpoints"]


WEIGHTS = [*CHECKPOINTS, 1, "weights"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["format"], "other"),
        (["format_version"], 2),
        (["models"], []),
        (["models", "gloss-tiny"], None),
        (["models", "gloss-tiny", "repository"], 3),
        (CHECKPOINTS, {}),
        ([*CHECKPOINTS, 1], []),
        ([*CHECKPOINTS, 1, "step"], -1),
        ([*CHECKPOINTS, 1, "step"], True),
        ([*CHECKPOINTS, 1, "step"], 8.0),
        ([*CHECKPOINTS, 1, "step"], "8"),
        ([*CHECKPOINTS, 1, "step"], MOST + 1),
        ([*CHECKPOINTS, 1, "step"], 0),  # the same as the one before
        ([*CHECKPOINTS, 0, "step"], 9),  # they descend
        ([*CHECKPOINTS, 1, "revision"], None),
        ([*CHECKPOINTS, 1, "commit_sha"], "main"),
        ([*CHECKPOINTS, 1, "commit_sha"], "a" * 39),
        ([*CHECKPOINTS, 1, "commit_sha"], "A" * 40),
        ([*CHECKPOINTS, 1, "commit_sha"], "a" * 40 + "\n"),
        ([*CHECKPOINTS, 1, "problem"], None),
        (WEIGHTS, []),  # and no problem
        (WEIGHTS, "model.safetensors"),
        ([*WEIGHTS, 0], ["model.safetensors", 1000, "b" * 64]),
        ([*WEIGHTS, 0, 1], -1),
        ([*WEIGHTS, 0, 1], True),
        ([*WEIGHTS, 0, 1], MAX_FILE_BYTES + 1),
        ([*WEIGHTS, 0, 1], 10**400),
        ([*WEIGHTS, 0, 2], "b" * 63),
        ([*WEIGHTS, 0, 2], "g" * 64),
        ([*WEIGHTS, 0, 2], ""),  # and no blob id
        *(
            ([*WEIGHTS, 0, 0], name)
            for name in (
                "../evil",
                "/etc/passwd",
                "a/b",
                ".hidden",
                "..",
                "",
                "a\0",
                "a\n",
                "a b",
                "-x",
                "ä",
                "n" * 201,
            )
        ),
    ],
)
def test_odd_content_is_refused_with_a_way_out(tmp_path: Path, place: list[Any], value: Any) -> None:
    with pytest.raises(EmergenceError, match="lock file cannot be used") as caught:
        read_changed(tmp_path, place, value)
    assert caught.value.where == str(tmp_path / "lock.json")
    assert "emergence checkpoints lock" in caught.value.remedy


def test_a_lock_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    write_lock(path, LOCK)
    content = path.read_bytes()
    for n_bytes in range(0, len(content) - 2, 7):
        path.write_bytes(content[:n_bytes])
        with pytest.raises(EmergenceError, match="lock file cannot be used"):
            read_lock(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


PLACES = st.sampled_from([["models"], ["models", "gloss-tiny"], CHECKPOINTS, [*CHECKPOINTS, 1], WEIGHTS, [*WEIGHTS, 0]])


@given(PLACES, JSON)
def test_whatever_stands_anywhere_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: list[Any], value: Any
) -> None:
    with contextlib.suppress(EmergenceError):
        assert isinstance(read_changed(tmp_path_factory.mktemp("lock"), place, value), Lock)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"null", b"", b"{}", b"[1]"])
def test_a_file_that_is_no_lock_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lock.json").write_bytes(content)
    with pytest.raises(EmergenceError, match="lock file cannot be used"):
        read_lock(tmp_path / "lock.json")


def test_nesting_of_any_depth_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    write_lock(path, LOCK)
    text = path.read_text()
    for place in ('"step8"', '["model.safetensors", 1000, "' + "b" * 64 + '", ""]'):
        for depth in range(900, 1000, 3):  # some are read and shown in the message, some are too deep for the parser
            path.write_text(text.replace(place, "[" * depth + "]" * depth))
            with pytest.raises(EmergenceError, match="lock file cannot be used"):
                read_lock(path)


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lock(tmp_path / "lock.json", LOCK)
    monkeypatch.setattr(lock_file, "MAX_BYTES", 100)
    with pytest.raises(EmergenceError, match="too large"):
        read_lock(tmp_path / "lock.json")


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock.json").mkdir()
    with pytest.raises(EmergenceError, match="lock file cannot be used"):
        read_lock(tmp_path / "lock.json")
