"""Paths of results, and checks of the data folder."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import EmergenceError
from resources.files.storage import Storage, data_folder, prepare_folder

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
