"""A folder that another program writes: unfinished checkpoints are ignored, changed ones are new checkpoints."""

import errno
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from emergence_assets.checkpoints.sources.local import LocalSource
from emergence_assets.checkpoints.sources.settling import UNFINISHED
from resources.errors import EmergenceError
from tests.checkpoints.sources.hub_family import MODEL
from tests.checkpoints.sources.local_family import make_source, ref_of, steps, trained_source, why
from tests.family import STEPS, as_pickle, missing_file, shard, step_folder


def test_a_whole_family_is_listed_by_step(family: Path) -> None:
    listing = make_source(family).list(MODEL)
    assert [ref.step for ref in listing.checkpoints] == list(STEPS)
    assert listing.incomplete == {}
    ref = listing.checkpoints[4]
    folder = step_folder(family, MODEL, 8)
    assert (ref.model, ref.revision, ref.location, ref.commit_sha) == (MODEL, "step8", str(folder), "")
    assert ref.weights_bytes == (folder / "model.safetensors").stat().st_size
    assert len({ref.identity for ref in listing.checkpoints}) == len(STEPS)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("{model}/step{step}", "step8"), ("{model}/checkpoint-{step}", "checkpoint-8"), ("x/{model}-{step}.d", None)],
)
def test_only_folders_of_the_pattern_are_steps(root: Path, pattern: str, name: str | None) -> None:
    folder = root / "x" / f"{MODEL}-8.d" if name is None else root / MODEL / name
    folder.parent.mkdir(exist_ok=True)
    if not folder.exists():
        step_folder(root, MODEL, 8).rename(folder)
    for other in ("step", "step-1", "step1.5", "stepx", "xstep1", "step" + "9" * 13, "step\u0661"):
        (root / MODEL / other).mkdir()
    (root / MODEL / "step5").write_text("no folder")
    listing = make_source(root, pattern=pattern).list(MODEL)
    assert [ref.step for ref in listing.checkpoints] == ([0, 8, 64] if name == "step8" else [8])
    assert listing.incomplete == {}


def test_two_folders_of_one_step_are_refused(root: Path) -> None:
    shutil.copytree(step_folder(root, MODEL, 8), root / MODEL / "step08")
    with pytest.raises(EmergenceError, match="step08 and step8 are both step 8"):
        make_source(root).list(MODEL)


@pytest.mark.parametrize("kind", ["missing", "file", "file for a model"])
def test_a_root_that_cannot_be_read_is_an_error_and_no_empty_family(root: Path, kind: str) -> None:
    (root.parent / "file").write_text("")
    (root / "file").write_text("")
    where = root.parent / ("nowhere" if kind == "missing" else "file")
    with pytest.raises(EmergenceError, match=r"does not exist|cannot be read"):
        make_source(root if kind == "file for a model" else where).list("file")


def test_a_model_without_a_folder_has_no_checkpoints_yet(root: Path) -> None:
    assert make_source(root).list("another").checkpoints == ()
    assert trained_source(root.parent / "nowhere").list(MODEL).checkpoints == ()


@pytest.mark.parametrize(
    ("pattern", "lacking"),
    [("{model}/checkpoint-{step}", "'checkpoint-{step}'"), ("{model}/run-1/step{step}", "run-1")],
    ids=["pattern of steps", "folder above"],
)
def test_where_no_folder_fits_the_listing_names_those_that_exist(root: Path, pattern: str, lacking: str) -> None:
    listing = make_source(root, pattern=pattern).list(MODEL)
    assert listing.checkpoints == ()
    assert listing.found_instead == f"{root / MODEL} has no folder {lacking}; its folders are step0, step64, step8"
    assert make_source(root).list(MODEL).found_instead == ""


def test_inode_numbers_that_change_make_no_other_checkpoint(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(root)
    listed = ref_of(source)
    real = Path.stat

    def stat(path: Path, **options: Any) -> os.stat_result:
        found = real(path, **options)
        numbers = [value + (place == 1) for place, value in enumerate(found)]  # the second is the inode
        return os.stat_result(numbers, {name: getattr(found, name) for name in ("st_mtime_ns", "st_ctime_ns")})

    with monkeypatch.context() as another_mount:
        another_mount.setattr(Path, "stat", stat)
        assert (listed_file := step_folder(root, MODEL, 8) / "config.json").stat().st_ino == real(
            listed_file
        ).st_ino + 1
        assert ref_of(source) == listed
        assert source.verify(listed) == ""


def test_the_step_stands_in_the_last_folder(root: Path) -> None:
    with pytest.raises(EmergenceError, match="not in the last folder's name"):
        make_source(root, pattern="step{step}/{model}").list(MODEL)


def test_a_folder_counts_when_it_has_not_changed_for_a_while(root: Path) -> None:
    waiting = make_source(root, settle_seconds=300)
    listing = waiting.list(MODEL)
    assert listing.checkpoints == ()
    assert all(reason.startswith("still being written: it changed") for reason in listing.incomplete.values())
    assert len(listing.incomplete) == 3
    for path in root.rglob("*"):
        os.utime(path, (0, 0))  # programs copy times with files: a file is not old because of them
    assert steps(waiting) == []
    time.sleep(0.2)
    assert steps(make_source(root, settle_seconds=0.1)) == [0, 8, 64]


@pytest.mark.parametrize("name", [f"model.safetensors{ending}" for ending in UNFINISHED] + [".model.123.tmp"])
def test_names_of_unfinished_files_are_waited_for(root: Path, name: str) -> None:
    (step_folder(root, MODEL, 8) / name).write_bytes(b"")
    assert why(make_source(root)) == f"still being written: {name}"
    (step_folder(root, MODEL, 8) / name).unlink()
    assert steps(make_source(root)) == [0, 8, 64]


def test_a_checkpoint_without_the_required_marker_is_incomplete(root: Path) -> None:
    for step in (0, 64):
        (step_folder(root, MODEL, step) / "DONE").touch()
    source = make_source(root, marker="DONE")
    assert why(source) == "it has no DONE yet"
    identity = ref_of(make_source(root)).identity
    (step_folder(root, MODEL, 8) / "DONE").touch()
    assert ref_of(source).identity == identity  # it is independent of the content of the checkpoint


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named_and_waited_for(family: Path, root: Path, name: str) -> None:
    missing_file(root, MODEL, 8, name)
    source = make_source(root)
    assert f"{name} is missing" in why(source)
    shutil.copyfile(step_folder(family, MODEL, 8) / name, step_folder(root, MODEL, 8) / name)
    assert steps(source) == [0, 8, 64]


@pytest.mark.parametrize("pickled", [False, True])
def test_a_missing_part_is_named(root: Path, pickled: bool) -> None:
    folder = as_pickle(root, MODEL, 8, 2) if pickled else shard(root, MODEL, 8, 2)
    (part,) = folder.glob("*-00002-of-00002.*")
    part.unlink()
    assert f"{part.name} is missing" in why(make_source(root))


def test_a_checkpoint_that_is_copied_byte_by_byte_counts_only_when_it_is_whole(family: Path, root: Path) -> None:
    content = (step_folder(family, MODEL, 8) / "model.safetensors").read_bytes()
    target, source = step_folder(root, MODEL, 8) / "model.safetensors", make_source(root)
    for n_bytes in (0, 5, 100, len(content) // 2, len(content) - 1):
        target.write_bytes(content[:n_bytes])
        assert "safetensors" in why(source)
    target.write_bytes(content)
    assert steps(source) == [0, 8, 64]


def test_a_temporary_fault_is_not_stored(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(root)
    away = OSError(errno.EIO, "Input/output error")

    def read(path: Path) -> bytes:
        raise away

    with monkeypatch.context() as while_the_disk_is_away:
        while_the_disk_is_away.setattr(Path, "read_bytes", read)
        assert "Input/output error" in source.list(MODEL).incomplete[8]
    assert steps(source) == [0, 8, 64]


def test_own_checkpoints_are_the_same_after_the_data_were_copied_and_others_are_looked_at_again(root: Path) -> None:
    def identities(source: LocalSource) -> dict[int, str]:
        return {ref.step: ref.identity for ref in source.list(MODEL).checkpoints}

    copy = shutil.copytree(root, root.parent / "copy")
    before = identities(trained_source(root))
    assert identities(trained_source(copy)) == before
    assert not set(identities(make_source(copy)).values()) & set(identities(make_source(root)).values())
    weights = step_folder(copy, MODEL, 8) / "model.safetensors"
    os.utime(weights, (1, 1))
    changed = {step for step, identity in identities(trained_source(copy)).items() if identity != before[step]}
    assert changed == {8}


def test_an_own_checkpoint_is_fetched_from_where_the_data_are_now(root: Path) -> None:
    listed = trained_source(root).list(MODEL).checkpoints[0]
    moved = root.rename(root.parent / "moved")
    with trained_source(moved).fetch(listed, lambda *_: None) as folder:
        assert folder == step_folder(moved, MODEL, listed.step)
    with pytest.raises(EmergenceError, match="is gone"), make_source(moved).fetch(listed, lambda *_: None):
        pass
