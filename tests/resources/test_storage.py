"""Where results lie and how they are written: whole or not at all, whatever happens in between."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emergence_assets.errors import EmergenceError
from resources.storage import (
    Storage,
    clear_disk_errors,
    data_folder,
    prepare_folder,
    replacing_file,
    replacing_folder,
)

KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from resources.storage import replacing_file, replacing_folder
if sys.argv[1] == "file":
    with replacing_file(Path(sys.argv[2])) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
with replacing_folder(Path(sys.argv[2])) as temporary:
    (temporary / "a").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def visible(folder: Path) -> list[str]:
    """Names in a folder without those of temporaries."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


# Paths

CELLS = st.tuples(st.sampled_from(["m", "m-2", "model=m"]), st.integers(0, 999_999), st.integers(-1, 99))


@given(st.sets(CELLS, min_size=2))
def test_different_cells_have_different_paths(cells: set[tuple[str, int, int]]) -> None:
    storage = Storage(Path("/data"), "quick")
    for place in (storage.activation_file, storage.sae_folder, lambda *cell: storage.cell_table("t", *cell)):
        assert len({place(*cell) for cell in cells}) == len(cells)


@given(CELLS)
def test_every_path_lies_inside_the_study(cell: tuple[str, int, int]) -> None:
    storage = Storage(Path("/data"), "quick")
    model, step, _ = cell
    for path in (
        storage.run_lock(),
        storage.checkpoint_lock(model, step),
        storage.checkpoint_folder(model, step),
        storage.checkpoint_record(model, step),
        storage.tokens_file("ab"),
        storage.activation_file(*cell),
        storage.sae_folder(*cell),
        storage.cell_table("latent_stats", *cell),
        storage.model_table("presence", model),
        storage.study_table("scale"),
        storage.report_folder(),
    ):
        assert path.is_relative_to("/data/quick")
        assert path != Path("/data/quick")


def test_the_data_folder_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMERGENCE_DATA", raising=False)
    assert data_folder() == tmp_path / "data"
    monkeypatch.setenv("EMERGENCE_DATA", "")
    assert data_folder() == tmp_path / "data"
    monkeypatch.setenv("EMERGENCE_DATA", "elsewhere")
    assert data_folder() == tmp_path / "elsewhere"


# Writing whole or not at all

Replacing = Callable[[Path], AbstractContextManager[Path]]


def write(kind: str, temporary: Path, text: str) -> None:
    (temporary / "a" if kind == "folder" else temporary).write_text(text)


def read(kind: str, path: Path) -> str:
    return (path / "a" if kind == "folder" else path).read_text()


REPLACING: dict[str, Replacing] = {"file": replacing_file, "folder": replacing_folder}
both = pytest.mark.parametrize("kind", ["file", "folder"])


@both
def test_a_result_appears_when_it_is_whole(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "deep" / "er" / "result"
    with REPLACING[kind](target) as temporary:
        write(kind, temporary, "whole")
        assert not target.exists()
        assert temporary.parent == target.parent  # a rename is atomic within one file system only
    assert read(kind, target) == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["result"]


@both
def test_a_result_takes_the_place_of_the_old_one(tmp_path: Path, kind: str) -> None:
    for text in ("old", "new"):
        with REPLACING[kind](tmp_path / "result") as temporary:
            write(kind, temporary, text)
    assert read(kind, tmp_path / "result") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_replaced_folder_keeps_nothing_of_the_old_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with replacing_folder(tmp_path / "result") as temporary:
            (temporary / name / "deeper").mkdir(parents=True)
            (temporary / name / "deeper" / "file").touch()
    assert [path.name for path in (tmp_path / "result").iterdir()] == ["new"]


@both
@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_an_exception_leaves_the_old_result_whole_and_nothing_half_made(
    tmp_path: Path, kind: str, error: BaseException
) -> None:
    with REPLACING[kind](tmp_path / "result") as temporary:
        write(kind, temporary, "old")
    with pytest.raises(type(error)), REPLACING[kind](tmp_path / "result") as temporary:  # noqa: PT012
        write(kind, temporary, "half")
        raise error
    assert read(kind, tmp_path / "result") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


@both
def test_a_killed_writer_leaves_the_old_result_whole(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "result"
    with REPLACING[kind](target) as temporary:
        write(kind, temporary, "old")
    killed = subprocess.run([sys.executable, "-c", KILLED_WRITER, kind, str(target)], check=False)
    assert killed.returncode == -9
    assert read(kind, target) == "old"
    assert visible(tmp_path) == ["result"]


@both
def test_a_killed_writer_leaves_no_result_where_there_was_none(tmp_path: Path, kind: str) -> None:
    subprocess.run([sys.executable, "-c", KILLED_WRITER, kind, str(tmp_path / "result")], check=False)
    assert visible(tmp_path) == []


def test_leftovers_of_a_killed_process_that_had_this_number_are_no_hindrance(tmp_path: Path) -> None:
    for name in (f".result.{os.getpid()}.tmp", f".result.{os.getpid()}.old.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "left").touch()
    for text in ("first", "second"):
        with replacing_folder(tmp_path / "result") as temporary:
            assert list(temporary.iterdir()) == []
            write("folder", temporary, text)
    assert read("folder", tmp_path / "result") == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_block_that_writes_no_file_is_an_error_and_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "result").write_text("old")
    with pytest.raises(FileNotFoundError), replacing_file(tmp_path / "result"):
        pass
    assert (tmp_path / "result").read_text() == "old"


# Disks that refuse


def test_a_full_disk_is_explained_and_the_old_result_stays(small_disk: Path) -> None:
    target = small_disk / "result"
    target.write_text("old")
    with pytest.raises(EmergenceError) as caught, clear_disk_errors(target), replacing_file(target) as temporary:
        temporary.write_bytes(bytes(2 << 20))
    assert caught.value.what == "The disk is full."
    assert "free some space" in caught.value.remedy
    assert target.read_text() == "old"
    assert [path.name for path in small_disk.iterdir()] == ["result"]


def test_a_full_disk_is_noticed_before_work_begins(small_disk: Path) -> None:
    (small_disk / "data").mkdir()
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(bytes(2 << 20))
    with pytest.raises(EmergenceError, match="The disk is full"):
        prepare_folder(small_disk / "data")
    assert list((small_disk / "data").iterdir()) == []


def test_a_read_only_disk_is_explained(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(EmergenceError, match="cannot be written: Read-only") as caught:
        prepare_folder(small_disk / "data")
    assert caught.value.where == str(small_disk / "data")
    assert "EMERGENCE_DATA" in caught.value.remedy


@pytest.mark.parametrize("inside", ["", "data", "data/quick"])
def test_a_file_where_a_folder_should_be_is_explained(tmp_path: Path, inside: str) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(EmergenceError, match="cannot be written") as caught:
        prepare_folder(file / inside)
    assert str(file) in caught.value.where
    assert file.read_text() == "kept"


def test_a_folder_that_can_be_written_is_prepared_and_empty(tmp_path: Path) -> None:
    for _ in range(2):
        prepare_folder(tmp_path / "data" / "quick")
        assert list((tmp_path / "data" / "quick").iterdir()) == []


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), ValueError("bad")])
def test_other_errors_keep_their_own_type(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, clear_disk_errors(Path("x")):
        raise error
    assert caught.value is error
