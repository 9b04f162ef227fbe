"""Files are read once per version; a missing file is looked up each time."""

from pathlib import Path

from resources.files.versions import file_sha256, per_version


def test_a_file_is_read_again_when_it_was_replaced_and_never_else(tmp_path: Path) -> None:
    path, times = tmp_path / "file", []

    def read(path: Path) -> str | None:
        times.append(path)
        return path.read_text() if path.exists() else None

    assert [per_version(path, read) for _ in range(2)] == [None, None]
    path.write_text("one")
    assert [per_version(path, read) for _ in range(3)] == ["one"] * 3
    assert len(times) == 3
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").replace(path)
    assert [per_version(path, read) for _ in range(3)] == ["two"] * 3
    assert len(times) == 4
    path.unlink()
    assert per_version(path, read) is None


def test_readers_of_one_file_do_not_share_their_result(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("abc")
    assert per_version(path, Path.read_text) == "abc"
    assert per_version(path, Path.read_bytes) == b"abc"
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
