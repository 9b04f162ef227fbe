"""Damage is found, hostile files are refused."""

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from emergence_assets.activations.files.layout import FORMAT, ActivationSpec
from emergence_assets.activations.files.reading import open_rows, read_attrs, read_stats, verify_file
from resources.errors import EmergenceError
from resources.hdf5 import hdf5
from tests.activations.files.sample_file import SAMPLE, content, sample_rows, write


def test_a_flipped_byte_anywhere_is_found_or_harmless(sample):
    whole, expected = sample.read_bytes(), content(sample)
    with h5py.File(sample) as file:
        ids = [file[name].id for name in ActivationSpec(6, 3, 4, "bfloat16").datasets]
        in_data = {place for one in ids for place in range(one.get_offset(), one.get_offset() + one.get_storage_size())}
    others = np.random.default_rng(0).permutation(sorted(set(range(len(whole))) - in_data))[:300]
    n_found = 0
    for place in [*sorted(in_data), *others]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (int(place) % 8)
        sample.write_bytes(damaged)
        try:
            assert content(sample) == expected
            assert place not in in_data
        except EmergenceError:
            n_found += 1
    assert n_found > len(in_data) + 20


def test_a_flipped_byte_is_found_by_name(sample):
    with h5py.File(sample) as file:
        place = file["read_out"].id.get_offset() + 3
    damaged = bytearray(sample.read_bytes())
    damaged[place] ^= 1
    sample.write_bytes(damaged)
    with pytest.raises(EmergenceError, match="Checksum mismatch: the bytes of read_out are"):
        verify_file(sample)
    with pytest.raises(EmergenceError, match="Checksum mismatch"):
        open_rows(sample, "read_out", verify=True)
    open_rows(sample, "resid_post", verify=True)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9, 0.9999])
def test_truncation_is_found(sample, kept):
    os.truncate(sample, int(sample.stat().st_size * kept))
    with pytest.raises(EmergenceError, match=r"truncated|not HDF5|cannot be read"):
        open_rows(sample, "resid_post")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("format", "other", "format is 'other'"),
        ("format_version", 2, "version 2 of format"),
        ("complete", 0, "never finished"),
        ("n_rows", 7, "attributes require"),
        ("n_rows", "six", "not all integers"),
        ("n_rows", -1, "at least one element"),
        ("dtype", "float32", "attributes require"),
        ("dtype", "float8", "dtype is one of"),
        ("content_xxh3_128", "0" * 32, "content hash"),
    ],
)
def test_attributes_that_contradict_the_file_are_refused(sample, name, value, message):
    with h5py.File(sample, "r+") as file:
        del file.attrs[name]
        hdf5.write_attrs(file, {name: value})
    with pytest.raises(EmergenceError, match=message):
        verify_file(sample)


def test_a_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(EmergenceError, match="does not exist") as caught:
        open_rows(tmp_path / "none.h5", "resid_post")
    assert "aterialise" in caught.value.remedy


def test_something_else_than_a_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(EmergenceError):
        open_rows(tmp_path / "pipe.h5", "resid_post")
    (tmp_path / "text.h5").write_text("no HDF5" * 1000)
    with pytest.raises(EmergenceError, match="not HDF5"):
        open_rows(tmp_path / "text.h5", "resid_post")


# Hostile files


def _as_external_link(file: h5py.File, secret: Path) -> None:
    file["resid_post"] = h5py.ExternalLink(str(secret), "/resid_post")


def _as_soft_link(file: h5py.File, secret: Path) -> None:
    file["resid_post"] = h5py.SoftLink("/read_out")


def _as_virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((6, 4), "<f4")
    layout[:] = h5py.VirtualSource(str(secret), "resid_post", (6, 4))
    file.create_virtual_dataset("resid_post", layout)


def _as_external_storage(file: h5py.File, secret: Path) -> None:
    file.create_dataset("resid_post", (6, 4), "<f4", external=[(str(secret), 0, 96)])


def _as_gzip(file: h5py.File, secret: Path) -> None:
    file.create_dataset("resid_post", (6, 4), "<f4", chunks=(6, 4), compression="gzip")


def _as_chunked(file: h5py.File, secret: Path) -> None:
    file.create_dataset("resid_post", (6, 4), "<f4", chunks=(2, 4))


def _as_compact(file: h5py.File, secret: Path) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((6, 4))
    h5py.h5d.create(file.id, b"resid_post", h5py.h5t.IEEE_F32LE, space, creation)


def _as_objects(file: h5py.File, secret: Path) -> None:
    file.create_dataset("resid_post", (6, 4), h5py.string_dtype())


def _as_references(file: h5py.File, secret: Path) -> None:
    file.create_dataset("resid_post", (6, 4), h5py.ref_dtype)


def _as_opaque(file: h5py.File, secret: Path) -> None:
    file.create_dataset("resid_post", data=np.zeros((6, 4), "V2"))


def _as_compound(file: h5py.File, secret: Path) -> None:
    file.create_dataset("resid_post", (6, 4), np.dtype([("a", "<f2"), ("b", "<f2")]))


def _as_big_endian(file: h5py.File, secret: Path) -> None:
    file.create_dataset("resid_post", data=np.zeros((6, 4), ">f4"))


def _as_huge(file: h5py.File, secret: Path) -> None:
    file.create_dataset("resid_post", (1 << 45, 1 << 12), "<f4")


def _as_unallocated(file: h5py.File, secret: Path) -> None:
    file.create_dataset("resid_post", (6, 4), "<f4")


def _as_group(file: h5py.File, secret: Path) -> None:
    file.create_group("resid_post")


def _as_nothing(file: h5py.File, secret: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (_as_external_link, "reached by a ExternalLink"),
        (_as_soft_link, "reached by a SoftLink"),
        (_as_virtual, "is virtual"),
        (_as_external_storage, "in another file"),
        (_as_gzip, "is chunked"),
        (_as_chunked, "is chunked"),
        (_as_compact, "is compact"),
        (_as_objects, "type that is not allowed"),
        (_as_references, "type that is not allowed"),
        (_as_opaque, "type that is not allowed"),
        (_as_compound, "type that is not allowed"),
        (_as_big_endian, "type that is not allowed"),
        (_as_huge, "does not hold"),
        (_as_unallocated, "does not hold"),
        (_as_group, "not a dataset"),
        (_as_nothing, "is missing"),
    ],
)
def test_hostile_rows_are_refused(tmp_path, attack: Callable[[h5py.File, Path], None], message):
    path = write(tmp_path / "layer.h5", sample_rows(), "float32", {})
    secret = write(tmp_path / "secret.h5", sample_rows(), "float32", {})
    with h5py.File(path, "r+", libver="latest") as file:
        del file["resid_post"]
        attack(file, secret)
    for read in (lambda: open_rows(path, "resid_post"), lambda: verify_file(path)):
        with pytest.raises(EmergenceError, match=message) as caught:
            read()
        assert caught.value.where == str(path)
        assert caught.value.remedy


def test_a_linked_group_is_refused(tmp_path):
    path = write(tmp_path / "layer.h5", sample_rows(), "float32", {})
    secret = write(tmp_path / "secret.h5", sample_rows(), "float32", {})
    with h5py.File(path, "r+", libver="latest") as file:
        del file["stats"]
        file["stats"] = h5py.ExternalLink(str(secret), "/stats")
    with pytest.raises(EmergenceError, match="ExternalLink"):
        read_stats(path)


@pytest.mark.parametrize(
    "value", [np.arange(5), h5py.Empty("f"), np.array([b"a"], dtype=h5py.string_dtype()), np.void(b"ab")]
)
def test_hostile_attributes_are_refused(sample, value):
    with h5py.File(sample, "r+") as file:
        file.attrs["step"] = value
    with pytest.raises(EmergenceError, match="Attribute step"):
        read_attrs(sample)


def test_a_user_block_is_refused(tmp_path):
    with h5py.File(tmp_path / "layer.h5", "w", userblock_size=512) as file:
        hdf5.write_attrs(file, {"format": FORMAT, "format_version": 1, "complete": 1})
    with pytest.raises(EmergenceError, match="user block"):
        read_attrs(tmp_path / "layer.h5")


def test_names_outside_of_the_format_are_a_programming_error():
    with pytest.raises(ValueError, match="name is one of"):
        open_rows(SAMPLE, "stats/mean")
