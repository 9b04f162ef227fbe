"""Results are written whole or not at all."""

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors, replacing_file, replacing_folder
from tests.resources.files.killed_writer import kill_a_writer


def visible(folder: Path) -> list[str]:
    """Names in a folder, without temporary files."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


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
    kill_a_writer(kind, target)
    assert read(kind, target) == "old"
    assert visible(tmp_path) == ["result"]


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


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), ValueError("bad")])
def test_other_errors_keep_their_own_type(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, clear_disk_errors(Path("x")):
        raise error
    assert caught.value is error
