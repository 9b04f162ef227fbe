"""Rows let go, archived and put back: what comes back is what was there, and all else stays as it is."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from emergence_assets.activations.files.layout import NO_HASH, ROW_DATASETS
from emergence_assets.activations.files.reading import (
    Rows,
    open_rows,
    read_attrs,
    read_spec,
    read_stats,
    unarchive_rows,
    verify_file,
)
from emergence_assets.activations.files.storage_state import archive_rows, evict_rows, require_same_rows, restore_rows
from resources.errors import EmergenceError
from resources.hdf5.hdf5 import write_attrs
from tests.activations.files.layer_files import random_rows, stored_rows, write_layer
from tests.activations.files.sample_file import DTYPES, dataset, write

SIZE = {"n_rows": 4000, "d_model": 32}


def what_stays(path: Path) -> dict[str, object]:
    """All of a file but its rows and what says where they are."""
    of_residency = {"residency", "archive_bytes", "archive_block_rows"}
    found: dict[str, object] = {name: value for name, value in read_attrs(path).items() if name not in of_residency}
    found |= {name: column.tobytes() for name, column in vars(read_stats(path)).items()}
    for name in list(ROW_DATASETS)[1:]:
        rows = open_rows(path, name, verify=True)
        found[name] = (rows.dtype, rows.array.shape, rows.array.tobytes())
    with h5py.File(path) as file:
        for name in ("preview", "read_out", "read_out_mean", "stats/mean"):
            attrs = {key: np.asarray(value).tobytes() for key, value in dataset(file, name).attrs.items()}
            found[f"{name} as h5py sees it"] = (dataset(file, name)[()].tobytes(), attrs)
    return found


def flip(path: Path, name: str, byte: int = 3) -> None:
    """One bit of a dataset."""
    with h5py.File(path) as file:
        place = dataset(file, name).id.get_offset() + byte
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_file_is_the_same_after_its_rows_were_away(tmp_path: Path, dtype: str) -> None:
    path = write_layer(tmp_path / "layer.h5", "stored", dtype, **SIZE)
    before, stays, rows = path.read_bytes(), what_stays(path), stored_rows(dtype, **SIZE)

    def away(evict_or_archive, residency: str) -> None:
        evict_or_archive(path)
        verify_file(path)
        assert read_spec(path).residency == residency
        assert what_stays(path) == stays

    away(archive_rows, "archived")
    np.testing.assert_array_equal(unarchive_rows(path).array, rows.array)
    restore_rows(path)
    assert path.read_bytes() == before
    away(evict_rows, "evicted")
    restore_rows(path, rows)
    assert path.read_bytes() == before
    away(archive_rows, "archived")
    away(evict_rows, "evicted")
    restore_rows(path, rows)
    assert path.read_bytes() == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_become_free(tmp_path: Path, dtype: str) -> None:
    path = write_layer(tmp_path / "layer.h5", "stored", dtype, **SIZE)
    row_bytes = SIZE["n_rows"] * SIZE["d_model"] * (4 if dtype == "float32" else 2)
    size = path.stat().st_size
    archived = archive_rows(path)
    assert size - archived == path.stat().st_size
    assert 0.05 * row_bytes < archived < 0.6 * row_bytes  # normal numbers: exponents compress, mantissas do not
    evicted = evict_rows(path)
    assert archived + evicted == size - path.stat().st_size
    assert row_bytes - 8192 <= archived + evicted <= row_bytes + 8192


def test_letting_go_and_putting_back_twice_is_the_same_as_once(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5")
    for evict_or_archive, put_back in ((archive_rows, None), (evict_rows, stored_rows())):
        evict_or_archive(path)
        once = path.stat()
        assert evict_or_archive(path) == 0
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (once.st_ino, once.st_mtime_ns)
        restore_rows(path, put_back)
        once = path.stat()
        restore_rows(path, put_back)
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (once.st_ino, once.st_mtime_ns)


def other_rows() -> dict[str, Rows]:
    rows = stored_rows().array
    one_bit = rows.copy()
    one_bit.view(np.uint16)[30, 7] ^= 1
    return {
        "one bit": Rows(one_bit, "float16"),
        "another seed": stored_rows(seed=1),
        "a row less": Rows(rows[:-1], "float16"),
        "a row more": Rows(np.concatenate([rows, rows[:1]]), "float16"),
        "another shape": Rows(rows.reshape(-1, 8), "float16"),
        "another order": Rows(rows[::-1], "float16"),
        "another type": Rows(rows.view(np.uint16), "bfloat16"),
        "a wider type": Rows(rows.astype(np.float32), "float32"),
    }


@pytest.mark.parametrize("which", other_rows())
def test_other_rows_are_refused(tmp_path: Path, which: str) -> None:
    path = write_layer(tmp_path / "layer.h5", "evicted")
    before = path.read_bytes()
    with pytest.raises(EmergenceError, match="not bit for bit"):
        restore_rows(path, other_rows()[which])
    assert path.read_bytes() == before
    require_same_rows(path, stored_rows())


def test_evicted_rows_do_not_come_back_by_themselves(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5", "evicted")
    with pytest.raises(EmergenceError, match="evicted"):
        restore_rows(path)
    with pytest.raises(EmergenceError, match="evicted"):
        archive_rows(path)
    with pytest.raises(EmergenceError, match="evicted"):
        open_rows(path, "resid_post")
    with pytest.raises(EmergenceError, match="not archived"):
        unarchive_rows(path)


def test_an_archive_comes_back_without_a_harvest_and_needs_none_that_is_given(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5", "archived")
    restore_rows(path, stored_rows(seed=5))
    np.testing.assert_array_equal(open_rows(path, "resid_post").array, stored_rows().array)


@pytest.mark.parametrize("name", ["read_out", "read_out_mean", "preview", "stats/mean", "stats/inf_count"])
@pytest.mark.parametrize("residency", ["stored", "archived", "evicted"])
def test_damage_is_not_copied_under_a_fresh_hash(tmp_path: Path, residency, name: str) -> None:
    path = write_layer(tmp_path / "layer.h5", residency)
    flip(path, name)
    before = path.read_bytes()
    works = {"stored": (evict_rows, archive_rows), "archived": (evict_rows, restore_rows)}
    for work in works.get(residency, (lambda path: restore_rows(path, stored_rows()),)):
        with pytest.raises(EmergenceError, match=f"Checksum mismatch: the bytes of {name} are"):
            work(path)
    assert path.read_bytes() == before


def test_damaged_rows_are_not_archived(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5")
    flip(path, "resid_post", 1000)
    before = path.read_bytes()
    with pytest.raises(EmergenceError, match="Checksum mismatch: the bytes of resid_post are"):
        archive_rows(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("byte", [0, 5, 500, 1500])
def test_a_damaged_archive_is_found_and_not_restored(tmp_path: Path, byte: int) -> None:
    path = write_layer(tmp_path / "layer.h5", "archived")
    flip(path, "archive/resid_post", byte)
    before = path.read_bytes()
    for read in (verify_file, unarchive_rows, restore_rows):
        with pytest.raises(EmergenceError):
            read(path)
    assert path.read_bytes() == before


def test_a_file_whose_hashes_contradict_each_other_is_left_alone(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5")
    with h5py.File(path, "r+", libver="v110") as file:
        write_attrs(file, {"content_xxh3_128": NO_HASH})
    before = path.read_bytes()
    for work in (evict_rows, archive_rows):
        with pytest.raises(EmergenceError, match="content hash"):
            work(path)
    assert path.read_bytes() == before


def test_values_that_are_no_numbers_come_back_bit_for_bit(tmp_path: Path) -> None:
    rows = random_rows(60, 16)
    rows["resid_post"][::7, 3] = np.nan
    rows["resid_post"][1, :] = -np.inf
    rows["resid_post"][2, :] = -0.0
    path = write(tmp_path / "layer.h5", rows, "float32", {})
    before = path.read_bytes()
    archive_rows(path)
    restore_rows(path)
    assert path.read_bytes() == before
