"""A lock file is written in a form with readable changes, and checked when it is read."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emergence_assets.checkpoints.sources.lock_file import (
    Lock,
    LockDifference,
    Pin,
    PinnedModel,
    difference,
    read_lock,
    write_lock,
)
from emergence_assets.study.strict import MOST
from resources.hub.pinned_file import MAX_FILE_BYTES, PinnedFile
from tests.checkpoints.sources.pins import LOCK, PIN, PINNED, REPOSITORY

HEX = "0123456789abcdef"


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,20}", fullmatch=True)


SIZES = st.integers(0, MAX_FILE_BYTES)
SHA1S, SHA256S = st.text(HEX, min_size=40, max_size=40), st.text(HEX, min_size=64, max_size=64)


FILES = st.one_of(
    st.builds(PinnedFile, NAMES, SIZES, SHA256S, st.just("")), st.builds(PinnedFile, NAMES, SIZES, st.just(""), SHA1S)
)


SOUND = st.lists(FILES, min_size=1, max_size=3).map(tuple)


PINS = st.builds(
    Pin, st.integers(0, MOST), st.text(), SHA1S, st.just(""), SOUND, st.lists(FILES, max_size=3).map(tuple)
) | st.builds(Pin, st.integers(0, MOST), st.text(), SHA1S, st.text(min_size=1), st.just(()), st.just(()))


PINS_OF_A_MODEL = st.lists(PINS, max_size=4, unique_by=lambda pin: pin.step).map(
    lambda pins: tuple(sorted(pins, key=lambda pin: pin.step))
)


LOCKS = st.dictionaries(st.text(), st.builds(PinnedModel, st.text(), PINS_OF_A_MODEL), max_size=3).map(Lock)


@given(LOCKS)
def test_a_lock_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, lock: Lock) -> None:
    path = tmp_path_factory.mktemp("lock") / "lock.json"
    write_lock(path, lock)
    assert read_lock(path) == lock


def test_every_checkpoint_has_a_line_of_its_own_and_models_are_sorted(tmp_path: Path) -> None:
    path, other = tmp_path / "lock.json", tmp_path / "other.json"
    first, last = PINNED.checkpoints
    lock = Lock({"b": PinnedModel("x/b", (first, last)), "a": PinnedModel("x/a", (first, last))})
    write_lock(path, lock)
    lines = path.read_text().splitlines()
    assert [json.loads(line.strip().rstrip(","))["step"] for line in lines if '"step"' in line] == [0, 8, 0, 8]
    assert path.read_text().index('"x/a"') < path.read_text().index('"x/b"')
    moved = replace(PIN, commit_sha="d" * 40)
    write_lock(other, Lock({**lock.models, "a": PinnedModel("x/a", (first, moved))}))
    changed = [pair for pair in zip(lines, other.read_text().splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1


def test_without_a_file_there_is_no_lock(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "lock.json") == Lock({})


def test_a_lock_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    write_lock(path, LOCK)
    with pytest.raises(TypeError):
        write_lock(path, Lock({"gloss-tiny": PinnedModel(REPOSITORY, (replace(PIN, revision=object()),))}))
    assert read_lock(path) == LOCK
    assert os.listdir(tmp_path) == ["lock.json"]  # noqa: PTH208


def test_a_checkpoint_without_weights_is_kept_with_a_reason(tmp_path: Path) -> None:
    pin = replace(PIN, weights=(), problem="model.safetensors is missing")
    write_lock(tmp_path / "lock.json", Lock({"gloss-tiny": PinnedModel(REPOSITORY, (pin,))}))
    assert read_lock(tmp_path / "lock.json").pins("gloss-tiny", REPOSITORY) == (pin,)


def test_difference_names_new_missing_and_moved_revisions() -> None:
    old = [replace(PIN, step=step, revision=f"step{step}") for step in (0, 8, 64)]
    now = {0: ("step0", "a" * 40), 8: ("step8", "d" * 40), 1: ("step1", "e" * 40)}
    found = difference("gloss-tiny", old, now)
    assert found.added == ["gloss-tiny step1 at eeeeeeeeeeee"]
    assert found.removed == ["gloss-tiny step64 at aaaaaaaaaaaa"]
    assert found.moved == ["gloss-tiny step8 from aaaaaaaaaaaa to dddddddddddd"]
    unchanged = difference("gloss-tiny", old, {pin.step: (pin.revision, pin.commit_sha) for pin in old})
    assert unchanged == LockDifference([], [], [])


def test_identity_is_that_of_the_content_and_of_nothing_else() -> None:
    same = replace(PIN, step=9, revision="other", commit_sha="d" * 40)
    assert same.identity == PIN.identity
    assert len(PIN.identity) == 32
    config, weights = PIN.others[0], PIN.weights[0]
    changed = [
        replace(PIN, weights=(weights._replace(sha256="e" * 64),)),
        replace(PIN, weights=(weights._replace(n_bytes=1001),)),
        replace(PIN, weights=(weights._replace(name="pytorch_model.bin"),)),
        replace(PIN, others=(config._replace(blob_id="e" * 40),)),
        replace(PIN, others=()),
    ]
    assert len({pin.identity for pin in (PIN, *changed)}) == 6


def test_hash_of_weights_is_stated_only_when_all_files_have_one() -> None:
    assert PIN.weights_sha256 == "b" * 64
    parts = (PinnedFile("model-1-of-2.safetensors", 1, "b" * 64, ""), PinnedFile("x.safetensors", 1, "", "c" * 40))
    assert replace(PIN, weights=parts).weights_sha256 == ""
