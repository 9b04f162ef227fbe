"""The activation file: what is written is what is read, damage is found, hostile files are refused."""

import doctest
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emergence_assets.activations import hdf5, store
from emergence_assets.activations.hdf5 import bfloat16_type, to_float32, to_storage
from emergence_assets.activations.moments import ColumnMoments
from emergence_assets.activations.reading import open_rows, read_attrs, read_stats, verify_file
from emergence_assets.activations.store import ROW_DATASETS, ActivationSpec, ActivationWriter
from emergence_assets.errors import EmergenceError

SAMPLE = Path(__file__).with_name("format_v1.h5")
DTYPES = ("float16", "bfloat16", "float32")
SAMPLE_ATTRS = {"model": "planted", "step": 512, "layer": 3, "learning_rate": 6e-3, "note": "Größe"}


def sample_rows() -> dict[str, np.ndarray]:
    """Values that bfloat16 holds exactly."""
    resid_td = np.arange(-12, 12, dtype=np.float32).reshape(6, 4) / 8
    return {"resid_post": resid_td, "read_out": resid_td[::2] * 4, "read_out_mean": resid_td[1::2] * 16}


def write(path: Path, rows: dict[str, np.ndarray], dtype: str, attrs: dict[str, str | int | float]) -> Path:
    """One complete file."""
    spec = ActivationSpec(len(rows["resid_post"]), len(rows["read_out"]), rows["resid_post"].shape[1], dtype)
    with ActivationWriter(path, spec, attrs) as writer:
        for name, block in rows.items():
            writer.append(name, block)
        writer.commit()
    return path


def write_sample(path: Path) -> Path:
    """How format_v1.h5 was made: `python tests/activations/test_store.py`."""
    return write(path, sample_rows(), "bfloat16", SAMPLE_ATTRS)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "layer.h5"
    path.write_bytes(SAMPLE.read_bytes())
    return path


def dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset by h5py alone, without our reader."""
    found = file[name]
    assert isinstance(found, h5py.Dataset)
    return found


def content(path: Path) -> tuple[object, ...]:
    """All that the reader gives, after verification."""
    verify_file(path)
    rows = tuple(open_rows(path, name, verify=True).array.tobytes() for name in ROW_DATASETS)
    stats = tuple(column.tobytes() for column in vars(read_stats(path)).values())
    return (tuple(sorted(read_attrs(path).items())), *rows, *stats)


# --- the format -------------------------------------------------------------------------------------------------------


def test_the_documented_format_reads_a_file():
    outcome = doctest.testmod(store)
    assert outcome.attempted > 5
    assert outcome.failed == 0


def test_files_of_version_1_stay_readable():
    verify_file(SAMPLE)
    for name, expected in sample_rows().items():
        rows = open_rows(SAMPLE, name, verify=True)
        assert rows.dtype == "bfloat16"
        np.testing.assert_array_equal(rows.float32(), expected)
    attrs = read_attrs(SAMPLE)
    assert attrs.items() >= SAMPLE_ATTRS.items()
    assert attrs["n_rows"] == 6


def test_bfloat16_is_a_true_float_in_the_file():
    with h5py.File(SAMPLE) as file:
        assert file["resid_post"].id.get_type() == bfloat16_type()
        # HDF5's own conversion, slow but independent of ours.
        np.testing.assert_array_equal(dataset(file, "resid_post")[()], sample_rows()["resid_post"])


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump is not installed")
def test_hdf5_tools_read_the_sample():
    shown = subprocess.run(["h5dump", "-H", str(SAMPLE)], capture_output=True, text=True, check=True).stdout
    assert 'DATASET "resid_post"' in shown
    assert "16-bit little-endian floating-point" in shown or "BFLOAT16" in shown


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(DTYPES),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(1, 17),
    st.integers(0, 99),
)
def test_rows_come_back_as_written(tmp_path_factory, dtype, n_rows, n_probes, d_model, block, seed):
    path = tmp_path_factory.mktemp("rows") / "layer.h5"
    random = np.random.default_rng(seed)
    rows = {
        name: random.normal(0, 10, (n_rows if name == "resid_post" else n_probes, d_model)).astype(np.float32)
        for name in ROW_DATASETS
    }
    with ActivationWriter(path, ActivationSpec(n_rows, n_probes, d_model, dtype), {"seed": seed}) as writer:
        for name, values in rows.items():
            for start in range(0, len(values), block):
                writer.append(name, values[start : start + block])
        writer.commit()
    verify_file(path)
    for name, values in rows.items():
        stored = open_rows(path, name).float32()
        np.testing.assert_array_equal(stored, to_float32(to_storage(values, dtype), dtype))
        np.testing.assert_allclose(stored, values, rtol={"float16": 1e-3, "bfloat16": 1e-2, "float32": 0}[dtype])
    with h5py.File(path) as file:
        np.testing.assert_array_equal(dataset(file, "preview")[()], open_rows(path, "resid_post").float32())
    stats, stored = read_stats(path), open_rows(path, "resid_post").float32().astype(np.float64)
    np.testing.assert_allclose(stats.mean, stored.mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(stats.var, stored.var(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(stats.min, stored.min(0))
    np.testing.assert_array_equal(stats.max, stored.max(0))


def test_equal_content_gives_equal_bytes(tmp_path):
    assert write_sample(tmp_path / "a.h5").read_bytes() == write_sample(tmp_path / "b.h5").read_bytes()


def test_content_hash_ignores_provenance_and_sees_values(tmp_path):
    rows = sample_rows()
    changed = {**rows, "read_out_mean": rows["read_out_mean"] + 1}
    paths = [
        write(tmp_path / f"{index}.h5", content, "float32", {"step": index})
        for index, content in enumerate([rows, rows, changed])
    ]
    hashes = [read_attrs(path)["content_xxh3_128"] for path in paths]
    assert hashes[0] == hashes[1] != hashes[2]


def test_large_rows_begin_on_a_page(tmp_path):
    rows = {name: np.ones((3000, 8), np.float32) for name in ROW_DATASETS}
    path = write(tmp_path / "layer.h5", rows, "float16", {})
    with h5py.File(path) as file:
        assert all(file[name].id.get_offset() % 4096 == 0 for name in ROW_DATASETS)
        assert dataset(file, "preview").shape == (1024, 8)
    assert path.stat().st_size <= ActivationSpec(3000, 3000, 8, "float16").n_bytes


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_bfloat16_rounds_like_torch():
    import torch

    bits = np.random.default_rng(0).integers(0, 1 << 32, 200_000, dtype=np.uint64).astype(np.uint32)
    special = np.array(
        [0, 1 << 31, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x43808000, 0x43818000, 1, 0x7F800001], np.uint32
    )
    values = np.concatenate([bits, special]).view(np.float32)
    expected = torch.from_numpy(values).to(torch.bfloat16)
    stored = to_storage(values, "bfloat16")
    is_nan = np.isnan(values)
    np.testing.assert_array_equal(stored[~is_nan], expected.view(torch.uint16).numpy()[~is_nan])
    assert np.isnan(to_float32(stored, "bfloat16")[is_nan]).all()


def test_bfloat16_bits_pass_unchanged():
    bits = np.arange(1 << 16, dtype=np.uint16)
    np.testing.assert_array_equal(to_storage(bits, "bfloat16"), bits)
    finite = np.isfinite(to_float32(bits, "bfloat16"))
    np.testing.assert_array_equal(to_storage(to_float32(bits, "bfloat16"), "bfloat16")[finite], bits[finite])


def test_rows_go_to_torch_as_bfloat16_without_a_copy():
    import torch

    array = np.array(open_rows(SAMPLE, "resid_post").array)
    resid_td = torch.from_numpy(array).view(torch.bfloat16)
    assert resid_td.data_ptr() == array.ctypes.data
    np.testing.assert_array_equal(resid_td.float().numpy(), sample_rows()["resid_post"])


def test_integers_are_refused_as_activations():
    with pytest.raises(TypeError, match="floats"):
        to_storage(np.zeros((2, 2), np.int32), "float16")


def test_non_finite_values_are_counted_per_column(tmp_path):
    rows = {name: np.ones((5, 3), np.float32) for name in ROW_DATASETS}
    rows["resid_post"][:2, 0] = np.nan
    rows["resid_post"][1, 1] = 1e6  # infinity in float16
    rows["resid_post"][:, 2] = np.inf
    stats = read_stats(write(tmp_path / "layer.h5", rows, "float16", {}))
    assert stats.nan_count.tolist() == [2, 0, 0]
    assert stats.inf_count.tolist() == [0, 1, 5]
    np.testing.assert_array_equal(stats.mean, [1, 1, np.nan])
    np.testing.assert_array_equal(stats.max, [1, 1, np.nan])


def test_moments_keep_a_small_variance_on_a_large_mean():
    x_td = (1e4 + np.random.default_rng(1).normal(0, 0.1, (9000, 4))).astype(np.float32)
    moments = ColumnMoments(4)
    for part in np.array_split(x_td, 7):
        moments.add(part)
    np.testing.assert_allclose(moments.columns()["var"], x_td.astype(np.float64).var(0), rtol=1e-5)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_nothing_is_left_when_writing_fails(tmp_path):
    def fail() -> None:
        with ActivationWriter(tmp_path / "layer.h5", ActivationSpec(2, 1, 3), {}) as writer:
            writer.append("resid_post", np.zeros((2, 3), np.float32))
            raise RuntimeError("forward pass failed")

    with pytest.raises(RuntimeError, match="forward pass"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_without_commit(tmp_path):
    with ActivationWriter(tmp_path / "layer.h5", ActivationSpec(2, 1, 3), {}):
        pass
    assert list(tmp_path.iterdir()) == []


def test_missing_rows_cannot_be_committed(tmp_path):
    with ActivationWriter(tmp_path / "layer.h5", ActivationSpec(2, 1, 3), {}) as writer:
        writer.append("resid_post", np.zeros((1, 3), np.float32))
        with pytest.raises(ValueError, match="1 of 2 declared rows"):
            writer.commit()


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (6,)])
def test_blocks_of_another_shape_are_refused(tmp_path, shape):
    with (
        ActivationWriter(tmp_path / "layer.h5", ActivationSpec(2, 1, 3), {}) as writer,
        pytest.raises(ValueError, match="takes"),
    ):
        writer.append("resid_post", np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("attrs", "error"),
    [
        ({"format": "mine"}, ValueError),
        ({"x": "a\0b"}, ValueError),
        ({"x": [1, 2]}, TypeError),
        ({"x": None}, TypeError),
    ],
)
def test_attributes_that_the_format_cannot_hold_are_refused(tmp_path, attrs, error):
    with pytest.raises(error, match="attribute"):
        ActivationWriter(tmp_path / "layer.h5", ActivationSpec(2, 1, 3), attrs)
    assert list(tmp_path.iterdir()) == []


def test_many_and_long_attributes_come_back(tmp_path):
    attrs = {f"key_{index}": "x" * (index * 500) for index in range(20)} | {
        "big": "y" * 100_000,
        "float": 0.1,
        "int": -5,
    }
    path = write(tmp_path / "layer.h5", sample_rows(), "float16", attrs)
    verify_file(path)
    assert read_attrs(path).items() >= attrs.items()


def test_a_file_is_replaced_under_an_open_reader(tmp_path):
    path = write(tmp_path / "layer.h5", sample_rows(), "float32", {})
    before = open_rows(path, "resid_post")
    write(path, {name: rows + 100 for name, rows in sample_rows().items()}, "float32", {})
    np.testing.assert_array_equal(before.float32(), sample_rows()["resid_post"])
    np.testing.assert_array_equal(open_rows(path, "resid_post").float32(), sample_rows()["resid_post"] + 100)


CHILD = """
import sys, numpy as np
from pathlib import Path
from emergence_assets.activations.store import ActivationSpec, ActivationWriter
with ActivationWriter(Path(sys.argv[1]), ActivationSpec(100_000, 10, 32), {}) as writer:
    while True:
        for _ in range(90):
            writer.append("resid_post", np.ones((1000, 32), np.float32))
            print("row", flush=True)
        sys.stdin.read()
"""


def test_a_killed_writer_leaves_nothing_under_the_final_name(tmp_path):
    path = tmp_path / "layer.h5"
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(store.__file__).parents[2],
    )
    assert child.stdin is not None
    assert child.stdout is not None
    for _ in range(30):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    assert not path.exists()
    (leftover,) = tmp_path.glob(".layer.h5.*.tmp")
    with pytest.raises(EmergenceError, match="never finished"):
        verify_file(leftover)
    write(path, sample_rows(), "float16", {})
    assert leftover.exists(), "a young file may belong to another host"
    old = time.time() - 2 * hdf5.STALE_SECONDS
    os.utime(leftover, (old, old))
    write(path, sample_rows(), "float16", {})
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_before_the_first_row(small_disk):
    spec = ActivationSpec(100_000, 10, 32)
    with pytest.raises(EmergenceError, match=f"No space for a file of {spec.n_bytes} bytes") as caught:
        ActivationWriter(small_disk / "layer.h5", spec, {})
    assert caught.value.where == str(small_disk)
    assert list(small_disk.iterdir()) == []


def test_a_file_size_limit_is_explained(tmp_path):
    program = """
    import resource, sys
    from pathlib import Path
    from emergence_assets.activations.store import ActivationSpec, ActivationWriter
    from emergence_assets.errors import EmergenceError
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        ActivationWriter(Path(sys.argv[1]), ActivationSpec(100_000, 10, 32), {})
    except EmergenceError as error:
        print(error.what)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "layer.h5")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(store.__file__).parents[2])
    assert "No space for a file of" in ended.stdout, ended.stderr
    assert list(tmp_path.iterdir()) == []


# --- damage -----------------------------------------------------------------------------------------------------------


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
        ("n_rows", 7, "attributes say"),
        ("n_rows", "six", "not all integers"),
        ("n_rows", -1, "at least one element"),
        ("dtype", "float32", "attributes say"),
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


# --- hostile files ----------------------------------------------------------------------------------------------------


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
        hdf5.write_attrs(file, {"format": store.FORMAT, "format_version": 1, "complete": 1})
    with pytest.raises(EmergenceError, match="user block"):
        read_attrs(tmp_path / "layer.h5")


def test_names_outside_of_the_format_are_a_programming_error():
    with pytest.raises(ValueError, match="name is one of"):
        open_rows(SAMPLE, "stats/mean")


if __name__ == "__main__":
    write_sample(SAMPLE)
