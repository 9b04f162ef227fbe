"""Files that lie about their parts, above all about an archive, are refused; so is whatever random edits make of one.

What any HDF5 file may try (links, external storage, types) is in test_guards.py.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
import xxhash

from emergence_assets.activations.hdf5 import create_contiguous, write_attrs, write_unconverted
from emergence_assets.activations.layout import ARCHIVE, ARCHIVE_OFFSETS, NO_HASH, RESIDENCIES, content_hash
from emergence_assets.activations.reading import (
    open_rows,
    read_attrs,
    read_spec,
    read_stats,
    unarchive_rows,
    verify_file,
)
from emergence_assets.activations.residency import archive_rows, evict_rows, restore_rows
from emergence_assets.errors import EmergenceError
from tests.activations.fork_server import ForkServer
from tests.activations.layer_files import everything, write_layer
from tests.activations.sample_file import dataset

N_ROWS, D_MODEL = 60, 16
PLAIN_BYTES = N_ROWS * D_MODEL * 2
Lie = Callable[[h5py.File], None]


def forge(path: Path, lie: Lie) -> Path:
    """Change a file as somebody would who knows the format: afterwards its hashes are right again where they can be."""
    with h5py.File(path, "r+", libver="v110") as file:
        lie(file)
    return path


def put(file: h5py.File, name: str, values: np.ndarray) -> None:
    """A dataset with the hash that belongs to it."""
    if name in file:
        del file[name]
    group, _, own_name = name.rpartition("/")
    kind = {"f2": "float16", "f4": "float32", "u1": "uint8", "i8": "int64"}[values.dtype.str[1:]]
    made = create_contiguous(file.require_group(group) if group else file, own_name, values.shape, kind)
    write_unconverted(made, values)
    write_attrs(made, {"xxh3_128": xxhash.xxh3_128_hexdigest(values.tobytes())})


def put_archive(file: h5py.File, frames: list[bytes], **attrs: int) -> None:
    """An archive of these frames with offsets that fit."""
    put(file, ARCHIVE, np.frombuffer(b"".join(frames), np.uint8))
    put(file, ARCHIVE_OFFSETS, np.concatenate([[0], np.cumsum([len(frame) for frame in frames])]).astype("<i8"))
    write_attrs(file, {"archive_bytes": sum(map(len, frames))} | attrs)


def zeros_frame(n_bytes: int, declared: int | None = None) -> bytes:
    """A zstd frame that expands to zeros, 32 768 times its size; it says so, or something else, or nothing."""
    head = b"\x28\xb5\x2f\xfd" + (b"\x00\x70" if declared is None else b"\xe0" + struct.pack("<Q", declared))
    n_blocks = max(1, n_bytes >> 17)
    repeated = [struct.pack("<I", (index == n_blocks - 1) | 1 << 1 | 1 << 20)[:3] + b"\0" for index in range(n_blocks)]
    return head + b"".join(repeated)


def frame(n_bytes: int) -> bytes:
    return pa.Codec("zstd").compress(bytes(n_bytes), asbytes=True)


def offsets(*values: int) -> Lie:
    return lambda file: put(file, ARCHIVE_OFFSETS, np.array(values, "<i8"))


def attrs(**values: str | float) -> Lie:
    return lambda file: write_attrs(file, values)


def archive_of(*frames: bytes, **values: int) -> Lie:
    return lambda file: put_archive(file, list(frames), **values)


END = -1


@pytest.mark.parametrize(
    "lie",
    [
        offsets(1, 1 << 40),
        offsets(0, 1 << 62),
        offsets(0, -1),
        offsets(-5, 5),
        offsets(0, 0),
        offsets(5, 0),
        offsets(0),
        offsets(0, 3, 9),
        attrs(archive_block_rows=1),
        attrs(archive_block_rows=-1),
        attrs(archive_block_rows=0),
        attrs(archive_block_rows="many"),
        attrs(archive_bytes=1 << 50),
        attrs(archive_bytes=-1),
        attrs(archive_bytes=1.5),
        attrs(n_rows=59),
        attrs(n_rows=1 << 40),
        attrs(resid_post_xxh3_128=NO_HASH),
        archive_of(b"no zstd frame at all"),
        archive_of(frame(PLAIN_BYTES)),
        archive_of(frame(PLAIN_BYTES - 1)),
        archive_of(frame(PLAIN_BYTES + 1)),
        archive_of(frame(0)),
        archive_of(frame(PLAIN_BYTES // 2), frame(PLAIN_BYTES // 2)),
        archive_of(frame(PLAIN_BYTES // 2), frame(PLAIN_BYTES // 2), archive_block_rows=30),
        archive_of(frame(PLAIN_BYTES), frame(PLAIN_BYTES), archive_block_rows=30),
        archive_of(zeros_frame(1 << 17)),
        archive_of(zeros_frame(1 << 17, declared=PLAIN_BYTES)),
    ],
)
def test_an_archive_that_lies_is_refused(tmp_path: Path, lie: Lie) -> None:
    path = forge(write_layer(tmp_path / "layer.h5", "archived"), lie)
    before = path.read_bytes()
    for read in (verify_file, unarchive_rows, restore_rows):
        with pytest.raises(EmergenceError):
            read(path)
    assert path.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("declared", [None, PLAIN_BYTES, 1 << 32, 1 << 62])
def test_a_decompression_bomb_is_refused_without_its_memory(
    tmp_path: Path, forks: ForkServer, declared: int | None
) -> None:
    bomb = zeros_frame(1 << 32, declared)
    assert len(bomb) < 1 << 18
    path = forge(write_layer(tmp_path / "layer.h5", "archived"), archive_of(bomb))
    with pytest.raises(EmergenceError):
        verify_file(path)
    forks.start("restore_bomb", path, 32 << 20)
    assert forks.wait() == [0]


def test_an_archive_that_promises_more_rows_than_any_memory_holds_is_refused(tmp_path: Path) -> None:
    n_blocks, block_rows = 100_000, (64 << 20) // (2 * D_MODEL)

    def promise(file: h5py.File) -> None:
        put_archive(file, [b"x"] * n_blocks, archive_block_rows=block_rows, n_rows=n_blocks * block_rows)
        put(file, "preview", np.zeros((1024, D_MODEL), "<f4"))

    path = forge(write_layer(tmp_path / "layer.h5", "archived"), promise)
    assert read_spec(path).n_rows * D_MODEL * 2 > 1 << 42
    for read in (verify_file, unarchive_rows, restore_rows):
        with pytest.raises(EmergenceError):
            read(path)


def without(*names: str) -> Lie:
    def remove(file: h5py.File) -> None:
        for name in names:
            if name in file:
                del file[name]
            else:
                del file.attrs[name]

    return remove


@pytest.mark.parametrize(
    ("residency", "lie"),
    [
        ("stored", without("resid_post")),
        ("evicted", attrs(residency="stored")),
        ("archived", attrs(residency="stored")),
        ("stored", attrs(residency="archived")),
        ("stored", attrs(residency="archived", archive_bytes=100, archive_block_rows=60)),
        ("evicted", attrs(residency="archived", archive_bytes=100, archive_block_rows=60)),
        ("archived", without("archive")),
        ("archived", without(ARCHIVE)),
        ("archived", without(ARCHIVE_OFFSETS)),
        ("archived", without("archive_bytes")),
        ("archived", attrs(residency="evicted")),
        ("evicted", attrs(archive_bytes=1, archive_block_rows=1)),
        ("stored", attrs(residency="Stored")),
        ("stored", attrs(residency="")),
        ("stored", attrs(residency=1)),
        ("stored", without("residency")),
        ("evicted", without("resid_post_xxh3_128")),
        ("stored", without("content_xxh3_128")),
    ],
)
def test_a_residency_that_contradicts_what_is_there_is_refused(tmp_path: Path, residency, lie: Lie) -> None:
    path = forge(write_layer(tmp_path / "layer.h5", residency), lie)
    with pytest.raises(EmergenceError):
        verify_file(path)


@pytest.mark.parametrize("residency", ["evicted", "archived"])
def test_rows_that_the_file_says_it_has_not_are_not_read(tmp_path: Path, residency) -> None:
    path = write_layer(tmp_path / "layer.h5", residency)
    forge(path, lambda file: put(file, "resid_post", np.ones((N_ROWS, D_MODEL), "<f2")))
    with pytest.raises(EmergenceError, match=residency):
        open_rows(path, "resid_post")


@pytest.mark.parametrize("residency", RESIDENCIES)
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
def test_numbers_and_names_that_make_no_sense_are_refused(tmp_path: Path, residency, values) -> None:
    path = forge(write_layer(tmp_path / "layer.h5", residency), attrs(**values))
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
        as_dataset("archive"),
        linked("stats", "/"),
        linked("archive", "/"),
        linked("read_out", "preview"),
        linked("read_out", "stats"),
        linked("stats/mean", "stats/nan_count"),
        lambda file: put(file, "preview", np.zeros((N_ROWS, D_MODEL), "<f2")),
        lambda file: put(file, "preview", np.zeros((N_ROWS - 1, D_MODEL), "<f4")),
        lambda file: put(file, "stats/nan_count", np.zeros(D_MODEL, "<f4")),
    ],
)
def test_parts_that_are_something_else_are_refused(tmp_path: Path, lie: Lie) -> None:
    path = forge(write_layer(tmp_path / "layer.h5", "archived"), lie)
    with pytest.raises(EmergenceError):
        verify_file(path)


def test_a_lie_about_shapes_is_not_copied_into_a_new_file(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5")
    forge(path, lambda file: put(file, "read_out", np.zeros((5000, D_MODEL), "<f2")))
    before = path.read_bytes()
    for work in (evict_rows, archive_rows):
        with pytest.raises(EmergenceError, match="attributes say"):
            work(path)
    assert path.read_bytes() == before


def test_a_lie_about_the_hash_of_the_rows_is_not_copied_into_a_new_file(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5")
    forge(path, attrs(resid_post_xxh3_128=NO_HASH))
    for work in (evict_rows, archive_rows):
        with pytest.raises(EmergenceError, match="hash"):
            work(path)
    hashes = {name: str(read_hash(path, name)) for name in ("read_out", "read_out_mean")} | {"resid_post": NO_HASH}
    forge(path, attrs(content_xxh3_128=content_hash(read_spec(path), hashes)))
    with pytest.raises(EmergenceError, match="hash of resid_post is not"):
        verify_file(path)


def read_hash(path: Path, name: str) -> str:
    with h5py.File(path) as file:
        return bytes(dataset(file, name).attrs["xxh3_128"]).decode()


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
