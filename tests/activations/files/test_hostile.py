"""Files that lie about their parts are refused. What any HDF5 file may try (links, types) is in test_guards.py."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from emergence_assets.activations.files.layout import NO_HASH, STORAGE_STATES, StorageState, content_hash
from emergence_assets.activations.files.reading import open_rows, read_attrs, read_spec, read_stats, verify_file
from emergence_assets.activations.files.storage_state import evict_rows
from resources.errors import EmergenceError
from resources.hdf5.hdf5 import write_attrs
from tests.activations.files.forgery import D_MODEL, N_ROWS, Lie, attrs, forge, put, without
from tests.activations.files.layer_files import everything, write_layer
from tests.activations.files.sample_file import dataset


@pytest.mark.parametrize(
    ("state", "lie"),
    [
        ("stored", without("resid_post")),
        ("evicted", attrs(residency="stored")),
        ("stored", attrs(residency="archived")),
        ("stored", attrs(residency="evicted")),
        ("stored", attrs(residency="Stored")),
        ("stored", attrs(residency="")),
        ("stored", attrs(residency=1)),
        ("stored", without("residency")),
        ("evicted", without("resid_post_xxh3_128")),
        ("stored", without("content_xxh3_128")),
    ],
)
def test_a_storage_state_that_contradicts_what_is_there_is_refused(
    tmp_path: Path, state: StorageState, lie: Lie
) -> None:
    path = forge(write_layer(tmp_path / "layer.h5", state), lie)
    with pytest.raises(EmergenceError):
        verify_file(path)


def test_rows_that_the_file_says_it_has_not_are_not_read(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5", "evicted")
    forge(path, lambda file: put(file, "resid_post", np.ones((N_ROWS, D_MODEL), "<f2")))
    with pytest.raises(EmergenceError, match="evicted"):
        open_rows(path, "resid_post")


@pytest.mark.parametrize("state", STORAGE_STATES)
@pytest.mark.parametrize(
    "values",
    [
        {"n_rows": -(1 << 63)},
        {"n_rows": (1 << 63) - 1},
        {"n_rows": 0},
        {"n_rows": 60.0},
        {"n_probes": -5},
        {"n_probes": 1 << 60},
        {"n_probes": float("nan")},
        {"d_model": 0},
        {"d_model": -16},
        {"d_model": (1 << 63) - 1},
        {"d_model": "16"},
        {"dtype": "object"},
        {"dtype": "float64"},
        {"dtype": "|V2"},
        {"dtype": ""},
        {"dtype": 16},
        {"format_version": "1"},
        {"complete": "1"},
        {"content_xxh3_128": 0},
    ],
)
def test_numbers_and_names_that_make_no_sense_are_refused(tmp_path: Path, state: StorageState, values) -> None:
    path = forge(write_layer(tmp_path / "layer.h5", state), attrs(**values))
    with pytest.raises(EmergenceError):
        verify_file(path)


def typed(name: str, value: object, dtype: object) -> Lie:
    def replace(file: h5py.File) -> None:
        del file.attrs[name]
        file.attrs.create(name, value, dtype=dtype)

    return replace


@pytest.mark.parametrize(
    "lie",
    [
        typed("n_rows", 60, "<i4"),
        typed("n_rows", 60, ">i8"),
        typed("n_rows", 60, "<u8"),
        typed("step", (1 << 64) - 1, "<u8"),
        typed("learning_rate", 6e-3, "<f4"),
        typed("n_rows", True, "?"),
        typed("step", 1 + 2j, "<c16"),
        typed("note", b"\xff\xfe", "S2"),
        typed("note", b"x" * ((1 << 20) + 1), f"S{(1 << 20) + 1}"),
        typed("note", "x", h5py.string_dtype()),
        typed("step", 1, h5py.enum_dtype({"A": 1})),
    ],
)
def test_attributes_of_other_types_than_the_format_has_are_refused(tmp_path: Path, lie: Lie) -> None:
    path = forge(write_layer(tmp_path / "layer.h5"), lie)
    with pytest.raises(EmergenceError, match=r"Attribute|cannot be read"):
        read_attrs(path)


def hash_as(value: object, dtype: object) -> Lie:
    def replace(file: h5py.File) -> None:
        dataset(file, "read_out").attrs.create("xxh3_128", value, dtype=dtype)

    return replace


def as_group(name: str) -> Lie:
    def replace(file: h5py.File) -> None:
        del file[name]
        file.create_group(name)

    return replace


def as_dataset(name: str) -> Lie:
    def replace(file: h5py.File) -> None:
        del file[name]
        put(file, name, np.zeros((6, 16), "<f4"))

    return replace


def linked(name: str, target: str) -> Lie:
    def replace(file: h5py.File) -> None:
        del file[name]
        file[name] = file[target]

    return replace


@pytest.mark.parametrize(
    "lie",
    [
        hash_as(0, "<i8"),
        hash_as("a" * 32, h5py.string_dtype()),
        hash_as([b"a"] * 2, "S1"),
        as_group("read_out"),
        as_group("preview"),
        as_dataset("stats"),
        linked("stats", "/"),
        linked("read_out", "preview"),
        linked("read_out", "stats"),
        linked("stats/mean", "stats/nan_count"),
        lambda file: put(file, "preview", np.zeros((N_ROWS, D_MODEL), "<f2")),
        lambda file: put(file, "preview", np.zeros((N_ROWS - 1, D_MODEL), "<f4")),
        lambda file: put(file, "stats/nan_count", np.zeros(D_MODEL, "<f4")),
    ],
)
def test_parts_that_are_something_else_are_refused(tmp_path: Path, lie: Lie) -> None:
    path = forge(write_layer(tmp_path / "layer.h5", "evicted"), lie)
    with pytest.raises(EmergenceError):
        verify_file(path)


def test_a_lie_about_shapes_is_not_copied_into_a_new_file(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5")
    forge(path, lambda file: put(file, "read_out", np.zeros((5000, D_MODEL), "<f2")))
    before = path.read_bytes()
    with pytest.raises(EmergenceError, match="attributes require"):
        evict_rows(path)
    assert path.read_bytes() == before


def test_a_lie_about_the_hash_of_the_rows_is_not_copied_into_a_new_file(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5")
    forge(path, attrs(resid_post_xxh3_128=NO_HASH))
    with pytest.raises(EmergenceError, match="hash"):
        evict_rows(path)
    hashes = {name: str(read_hash(path, name)) for name in ("read_out", "read_out_mean")} | {"resid_post": NO_HASH}
    forge(path, attrs(content_xxh3_128=content_hash(read_spec(path), hashes)))
    with pytest.raises(EmergenceError, match="hash of resid_post differs"):
        verify_file(path)


def read_hash(path: Path, name: str) -> str:
    with h5py.File(path) as file:
        return np.asarray(dataset(file, name).attrs["xxh3_128"]).item().decode()


def _nested(file: h5py.File) -> None:
    group: h5py.Group = file
    for _ in range(3000):
        group = group.create_group("a")
    group["back"] = file["/"]


def _named_types(file: h5py.File) -> None:
    file["type"] = np.dtype("<f2")
    file["text"] = h5py.string_dtype("utf-8", 3)
    file.attrs.create("note_2", b"abc", dtype=file["text"])


def _many_attributes(file: h5py.File) -> None:
    write_attrs(file, {f"more {index}": index for index in range(3000)})


@pytest.mark.parametrize("addition", [_nested, _named_types, _many_attributes])
def test_what_is_added_beside_does_not_change_what_is_read(tmp_path: Path, addition: Lie) -> None:
    path = write_layer(tmp_path / "layer.h5", attrs={})
    expected = everything(path)
    found = everything(forge(path, addition))
    assert {name: found[name] for name in expected if name != "attrs"} == {
        name: value for name, value in expected.items() if name != "attrs"
    }
    read_stats(path)
