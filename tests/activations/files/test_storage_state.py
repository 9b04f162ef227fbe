"""Rows are evicted and restored: restored rows equal the original rows, and all other content is unchanged."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from emergence_assets.activations.files.layout import NO_HASH, ROW_DATASETS, StorageState
from emergence_assets.activations.files.reading import (
    Rows,
    open_rows,
    read_attrs,
    read_spec,
    read_stats,
    verify_file,
)
from emergence_assets.activations.files.storage_state import evict_rows, require_same_rows, restore_rows
from emergence_assets.activations.spec import activation_provenance
from resources.errors import EmergenceError
from resources.hdf5.hdf5 import write_attrs
from tests.activations.files.layer_files import random_rows, stored_rows, write_layer
from tests.activations.files.sample_file import DTYPES, dataset, write

SIZE = {"n_rows": 4000, "d_model": 32}


def what_stays(path: Path) -> dict[str, object]:
    """Read all content of a file except its rows and their location."""
    found: dict[str, object] = {name: value for name, value in read_attrs(path).items() if name != "residency"}
    found |= {name: column.tobytes() for name, column in read_stats(path).items()}
    for name in list(ROW_DATASETS)[1:]:
        rows = open_rows(path, name, verify=True)
        found[name] = (rows.dtype, rows.array.shape, rows.array.tobytes())
    with h5py.File(path) as file:
        for name in ("preview", "read_out", "read_out_mean", "stats/mean"):
            attrs = {key: np.asarray(value).tobytes() for key, value in dataset(file, name).attrs.items()}
            found[f"{name} as h5py sees it"] = (dataset(file, name)[()].tobytes(), attrs)
    return found


def flip(path: Path, name: str, byte: int = 3) -> None:
    """Flip one bit of a dataset."""
    with h5py.File(path) as file:
        place = dataset(file, name).id.get_offset() + byte
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_file_is_the_same_after_its_rows_were_away(tmp_path: Path, dtype: str) -> None:
    path = write_layer(tmp_path / "layer.h5", "stored", dtype, **SIZE)
    before, stays = path.read_bytes(), what_stays(path)
    evict_rows(path)
    verify_file(path)
    assert read_spec(path).storage_state == "evicted"
    assert what_stays(path) == stays
    restore_rows(path, stored_rows(dtype, **SIZE))
    assert path.read_bytes() == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_become_free(tmp_path: Path, dtype: str) -> None:
    path = write_layer(tmp_path / "layer.h5", "stored", dtype, **SIZE)
    row_bytes = SIZE["n_rows"] * SIZE["d_model"] * (4 if dtype == "float32" else 2)
    size = path.stat().st_size
    freed = evict_rows(path)
    assert freed == size - path.stat().st_size
    assert row_bytes - 8192 <= freed <= row_bytes + 8192


def test_evicting_and_restoring_twice_is_the_same_as_once(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5")
    evict_rows(path)
    once = path.stat()
    assert evict_rows(path) == 0
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (once.st_ino, once.st_mtime_ns)
    restore_rows(path, stored_rows())
    once = path.stat()
    restore_rows(path, stored_rows())
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


def test_evicted_rows_cannot_be_opened(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5", "evicted")
    with pytest.raises(EmergenceError, match="evicted"):
        open_rows(path, "resid_post")


def test_a_file_that_an_earlier_version_archived_is_named_as_such(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5", "evicted")
    with h5py.File(path, "r+", libver="v110") as file:
        write_attrs(file, {"residency": "archived", "archive_bytes": 100, "archive_block_rows": 60})
    before = path.read_bytes()
    for read in (read_spec, read_stats, verify_file, evict_rows, activation_provenance):
        with pytest.raises(EmergenceError, match="are archived: an earlier version") as caught:
            read(path)
        assert "its cell is made again" in caught.value.remedy
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["read_out", "read_out_mean", "preview", "stats/mean", "stats/inf_count"])
@pytest.mark.parametrize("state", ["stored", "evicted"])  # a sampled file is never rewritten
def test_damage_is_not_copied_under_a_fresh_hash(tmp_path: Path, state: StorageState, name: str) -> None:
    path = write_layer(tmp_path / "layer.h5", state)
    flip(path, name)
    before = path.read_bytes()
    with pytest.raises(EmergenceError, match=f"Checksum mismatch: the bytes of {name} are"):
        evict_rows(path) if state == "stored" else restore_rows(path, stored_rows())
    assert path.read_bytes() == before


def test_a_file_whose_hashes_contradict_each_other_is_left_alone(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5")
    with h5py.File(path, "r+", libver="v110") as file:
        write_attrs(file, {"content_xxh3_128": NO_HASH})
    before = path.read_bytes()
    with pytest.raises(EmergenceError, match="content hash"):
        evict_rows(path)
    assert path.read_bytes() == before


def test_values_that_are_no_numbers_come_back_bit_for_bit(tmp_path: Path) -> None:
    rows = random_rows(60, 16)
    rows["resid_post"][::7, 3] = np.nan
    rows["resid_post"][1, :] = -np.inf
    rows["resid_post"][2, :] = -0.0
    path = write(tmp_path / "layer.h5", rows, "float32", {})
    before = path.read_bytes()
    evict_rows(path)
    restore_rows(path, Rows(rows["resid_post"], "float32"))
    assert path.read_bytes() == before
