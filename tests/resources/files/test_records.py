"""Records of folders and of results without files: altered, added and lost files are found."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.environment import made_for
from resources.errors import EmergenceError
from resources.files.provenance import Required
from resources.files.records import (
    MAX_RECORD_BYTES,
    RECORD_NAME,
    folder_hash,
    folder_provenance,
    record_provenance,
    required_from_json,
    required_to_json,
    verify_folder,
    write_folder_record,
    write_record,
)

REQUIRED = Required("sae", "m/step000008/L01", {"k": 16}, {"activations m/step000008/L01": "ab"}, "c0de")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished folder: two files, one of them in a subfolder, and the record."""
    folder = tmp_path / "layer=001"
    (folder / "seed=0").mkdir(parents=True)
    (folder / "cfg.json").write_text("{}")
    (folder / "seed=0" / "weights").write_bytes(bytes(range(256)))
    with made_for({"run_id": "r1"}):
        write_folder_record(folder, REQUIRED, {"fvu": 0.25})
    return folder


def test_a_finished_folder_verifies_and_records_its_inputs(folder: Path) -> None:
    verify_folder(folder)
    stored = folder_provenance(folder)
    assert stored is not None
    assert stored.required == REQUIRED
    assert stored.summary["fvu"] == 0.25
    assert stored.environment["run_id"] == "r1"
    assert stored.environment["num_threads"] >= 1
    assert stored.created.endswith("+00:00")


def _flip(folder: Path) -> None:
    content = bytearray((folder / "seed=0" / "weights").read_bytes())
    content[100] ^= 1
    (folder / "seed=0" / "weights").write_bytes(content)


def _swap(folder: Path) -> None:
    (folder / "cfg.json").rename(folder / "x")
    (folder / "seed=0" / "weights").rename(folder / "cfg.json")
    (folder / "x").rename(folder / "seed=0" / "weights")


def _alter_hash(folder: Path) -> None:
    record = folder / RECORD_NAME
    record.write_text(record.read_text().replace(folder_hash(folder), "0" * 64))


BREAKS: dict[str, Callable[[Path], object]] = {
    "a byte is flipped": _flip,
    "a file is cut short": lambda folder: (folder / "seed=0" / "weights").write_bytes(bytes(range(255))),
    "a file is emptied": lambda folder: (folder / "cfg.json").write_text(""),
    "a file is added": lambda folder: (folder / "extra").touch(),
    "a file is added below": lambda folder: (folder / "seed=0" / "extra").touch(),
    "a record is added below": lambda folder: (folder / "seed=0" / RECORD_NAME).touch(),
    "a file is lost": lambda folder: (folder / "cfg.json").unlink(),
    "a file is renamed": lambda folder: (folder / "cfg.json").rename(folder / "cfg2.json"),
    "a file is moved": lambda folder: (folder / "cfg.json").rename(folder / "seed=0" / "cfg.json"),
    "two files are swapped": _swap,
    "the record is lost": lambda folder: (folder / RECORD_NAME).unlink(),
    "the hash in the record is altered": _alter_hash,
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_folder_does_not_verify(folder: Path, how: str) -> None:
    BREAKS[how](folder)
    with pytest.raises(EmergenceError, match="not those that were written") as caught:
        verify_folder(folder)
    assert caught.value.where == str(folder)
    assert "delete it" in caught.value.remedy


def test_a_record_below_is_content_like_any_other_file(folder: Path) -> None:
    (folder / "seed=0" / RECORD_NAME).write_text("inner")
    write_folder_record(folder, REQUIRED, {})
    verify_folder(folder)
    (folder / "seed=0" / RECORD_NAME).write_text("other")
    with pytest.raises(EmergenceError, match="not those that were written"):
        verify_folder(folder)


NAMES = st.text("abc.=", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))


@given(st.dictionaries(NAMES, st.binary(max_size=8), max_size=4), st.dictionaries(NAMES, st.binary(max_size=8)))
def test_folders_have_equal_hashes_exactly_when_their_files_are_equal(
    tmp_path_factory: pytest.TempPathFactory, one: dict[str, bytes], other: dict[str, bytes]
) -> None:
    hashes = []
    for files in (one, other):
        folder = tmp_path_factory.mktemp("folder")
        for name, content in files.items():
            (folder / name).write_bytes(content)
        hashes.append(folder_hash(folder))
    assert (hashes[0] == hashes[1]) == (one == other)


def test_a_result_without_a_record_has_no_provenance(tmp_path: Path) -> None:
    assert folder_provenance(tmp_path) is None
    assert folder_provenance(tmp_path / "absent") is None
    assert record_provenance(tmp_path / "absent.json") is None


def test_a_record_is_written_whole_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "registry" / "step=000008.json"
    for bytes_ in (1, 2):
        write_record(path, REQUIRED, {"weights_bytes": bytes_})
    stored = record_provenance(path)
    assert stored is not None
    assert (stored.required, stored.summary) == (REQUIRED, {"weights_bytes": 2})
    assert [found.name for found in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "cannot be read"), (b"{}", "cannot be read"), (b"\xff\xfe", "not text"), (b"[" * 10**6, "cannot be read")],
)
def test_a_file_that_is_no_record_is_refused_with_its_path(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "step.json"
    path.write_bytes(content)
    with pytest.raises(EmergenceError, match=said) as caught:
        record_provenance(path)
    assert caught.value.where == str(path)


def test_a_record_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    with path.open("wb") as file:
        file.truncate(MAX_RECORD_BYTES + 1)
    with pytest.raises(EmergenceError, match="too large"):
        record_provenance(path)


def test_a_folder_where_a_record_should_be_and_the_reverse_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "folder", tmp_path / "file" / RECORD_NAME):
        with pytest.raises(EmergenceError, match="cannot be read"):
            record_provenance(path)


PLAIN = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers()))


@given(PLAIN, st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_a_worker_gets_the_required_provenance(recipe: dict[str, object], inputs: dict[str, str]) -> None:
    required = Required("sae", "m/step000008/L01", recipe, inputs, "c0de")
    assert required_from_json(required_to_json(required)) == required
    assert required_from_json(required_to_json(required)).fingerprint == required.fingerprint
