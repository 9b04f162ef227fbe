"""Archives that lie about offsets, blocks and sizes, and those that would fill the memory, are refused."""

import struct
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest

from emergence_assets.activations.files.layout import ARCHIVE, ARCHIVE_OFFSETS, NO_HASH
from emergence_assets.activations.files.reading import read_spec, unarchive_rows, verify_file
from emergence_assets.activations.files.storage_state import restore_rows
from resources.errors import EmergenceError
from resources.hdf5.hdf5 import write_attrs
from tests.activations.files.forgery import D_MODEL, N_ROWS, Lie, attrs, forge, put
from tests.activations.files.fork_server import ForkServer
from tests.activations.files.layer_files import write_layer

PLAIN_BYTES = N_ROWS * D_MODEL * 2


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


def archive_of(*frames: bytes, **values: int) -> Lie:
    return lambda file: put_archive(file, list(frames), **values)


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
