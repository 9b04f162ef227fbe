"""The activation file: reading returns the written rows, and a killed writer leaves no file."""

import doctest
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emergence_assets.activations.files.layout import ROW_DATASETS, STATISTICS_ROWS, ActivationSpec
from emergence_assets.activations.files.reading import open_rows, read_attrs, read_stats, verify_file
from emergence_assets.activations.files.writing import ActivationWriter
from resources.errors import EmergenceError
from resources.files.temporaries import sweep_temporaries
from resources.hdf5.hdf5 import bfloat16_type, to_float32, to_storage
from tests.activations.files.sample_file import (
    DTYPES,
    SAMPLE,
    SAMPLE_ATTRS,
    dataset,
    sample_rows,
    write,
    write_sample,
)

ROOT = Path(__file__).parents[3]


def test_the_documented_format_reads_a_file():
    outcome = doctest.testfile(str(ROOT / "docs/activation-format.md"), module_relative=False)
    assert outcome.attempted > 15
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
    np.testing.assert_allclose(stats["mean"], stored.mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(stats["var"], stored.var(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(stats["min"], stored.min(0))
    np.testing.assert_array_equal(stats["max"], stored.max(0))


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


def test_many_rows_begin_on_a_large_page(tmp_path):
    n_rows = (64 << 20) // (512 * 2)
    rows = {name: np.ones((n_rows if name == "resid_post" else 3, 512), np.float16) for name in ROW_DATASETS}
    path = write(tmp_path / "layer.h5", rows, "float16", {})
    verify_file(path)
    with h5py.File(path) as file:
        assert file["resid_post"].id.get_offset() % (1 << 20) == 0
    spec = ActivationSpec(n_rows, 3, 512, "float16")
    assert sum(block.nbytes for block in rows.values()) < path.stat().st_size <= spec.n_bytes


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
from emergence_assets.activations.files.layout import ActivationSpec
from emergence_assets.activations.files.writing import ActivationWriter
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
        cwd=ROOT,
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
    from emergence_assets.activations.files.layout import ActivationSpec
    from emergence_assets.activations.files.writing import ActivationWriter
    from resources.errors import EmergenceError
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        ActivationWriter(Path(sys.argv[1]), ActivationSpec(100_000, 10, 32), {})
    except EmergenceError as error:
        print(error.what)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "layer.h5")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert "No space for a file of" in ended.stdout, ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_changing_mapped_rows_does_not_change_the_file(tmp_path):
    path = write(tmp_path / "layer.h5", sample_rows(), "float32", {})
    open_rows(path, "resid_post").tensor().zero_()
    verify_file(path)


@pytest.mark.parametrize("block_rows", [1000, 200_000])
def test_statistics_are_those_of_the_first_rows_and_nan_is_counted_in_all(tmp_path: Path, block_rows: int) -> None:
    n_rows, d_model = STATISTICS_ROWS + 3000, 2
    rows_td = np.random.default_rng(0).normal(3, 2, (n_rows, d_model)).astype(np.float32)
    rows_td[STATISTICS_ROWS:] += 1000
    rows_td[-5, 1], rows_td[-7, 0] = np.nan, np.inf
    path = tmp_path / "layer.h5"
    with ActivationWriter(path, ActivationSpec(n_rows, 2, d_model, "float32"), {}) as writer:
        for start in range(0, n_rows, block_rows):
            writer.append("resid_post", rows_td[start : start + block_rows])
        for name in ("read_out", "read_out_mean"):
            writer.append(name, rows_td[:2])
        writer.commit()
    verify_file(path)
    stats, counted = read_stats(path), rows_td[:STATISTICS_ROWS].astype(np.float64)
    np.testing.assert_allclose(stats["mean"], counted.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(stats["var"], counted.var(axis=0), rtol=1e-5)
    assert stats["max"].max() < 100
    assert (stats["nan_count"].tolist(), stats["inf_count"].tolist()) == ([0, 1], [1, 0])


def test_on_a_network_disk_a_mapped_file_outlives_its_replacement(tmp_path, monkeypatch):
    path = tmp_path / "layer.h5"
    write(path, sample_rows(), "float16", {})
    monkeypatch.setattr("emergence_assets.activations.files.writing.is_on_network", lambda _: True)
    before = path.stat().st_ino
    write(path, sample_rows(), "float16", {})
    (kept,) = tmp_path.glob(".layer.h5.*.tmp")
    assert kept.stat().st_ino == before
    assert path.stat().st_ino != before
    assert sweep_temporaries(tmp_path) == 0, "this process lives"
