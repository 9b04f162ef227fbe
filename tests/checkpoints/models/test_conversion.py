"""Pickled weights become safetensors once, bit for bit; a pickle with more than tensors is refused and not run."""

import pickle
import signal
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from emergence_assets.checkpoints.files import folder
from emergence_assets.checkpoints.files.pickles import pickle_files
from emergence_assets.checkpoints.models.conversion import convert_pickle
from resources.errors import BrokenCheckpoint
from tests.conftest import mounted_disk
from tests.family import as_pickle, evil_pickle, read_weights

MODEL = "gloss-tiny"
PICKLE = "pytorch_model.bin"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def save(folder: Path, content: Any, **options: Any) -> Path:
    torch.save(content, folder / PICKLE, **options)
    return folder


@pytest.mark.parametrize("n", [1, 3])
def test_converted_weights_are_the_published_ones_bit_for_bit(family_copy: Path, n: int) -> None:
    before = read_weights(family_copy / MODEL / "step8")
    folder = as_pickle(family_copy, MODEL, 8, n)
    others = {name for name in names(folder) if ".bin" not in name}
    convert_pickle(folder)
    after = read_weights(folder)
    assert {name: weight.tobytes() for name, weight in after.items()} == {
        name: weight.tobytes() for name, weight in before.items()
    }
    assert names(folder) == others | {"model.safetensors"}


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_that_share_memory_are_stored_each_by_itself(tmp_path: Path, zipped: bool) -> None:
    tied = torch.arange(12.0).reshape(3, 4)
    content = {"a": tied, "b": tied, "c": tied.T, "d": torch.nn.Parameter(tied[1:])}
    convert_pickle(save(tmp_path, content, _use_new_zipfile_serialization=zipped))
    loaded = load_file(tmp_path / "model.safetensors")
    assert loaded.keys() == content.keys()
    assert all(torch.equal(loaded[name], content[name]) for name in content)


def test_a_pickle_that_runs_code_is_refused_and_not_run(family_copy: Path, tmp_path: Path) -> None:
    folder = evil_pickle(family_copy, MODEL, 8, tmp_path / "was-run")
    with pytest.raises(BrokenCheckpoint, match="holds other objects than tensors") as caught:
        convert_pickle(folder)
    assert not (tmp_path / "was-run").exists()
    assert caught.value.where == str(folder / PICKLE)
    assert "safetensors" in caught.value.remedy
    assert "model.safetensors" not in names(folder)
    # Without the guard it would run.
    torch.load(folder / PICKLE, weights_only=False)
    assert (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: [torch.zeros(1)], "not a mapping"),
        (lambda: {"a": 1}, "not a mapping"),
        (lambda: {1: torch.zeros(1)}, "not a mapping"),
        (lambda: {"model": {"a": torch.zeros(1)}}, "not a mapping"),
        (dict, "no tensors"),
        (lambda: {"a": torch.zeros(2, 2).to_sparse()}, "not dense"),
        (lambda: {"a": torch.zeros(2, 2, device="meta")}, "not dense"),
        (lambda: {"a": torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8)}, "quantized"),
        (lambda: {"a": torch.zeros(2, dtype=torch.complex32)}, "complex32"),
        (lambda: {"a\ud800": torch.zeros(1)}, "cannot be stored"),
        (lambda: {"a": torch.zeros(1).expand(10**12)}, "4000000000000 bytes"),
        (lambda: dict.fromkeys("abcdefghijkl", torch.zeros(100_000)), "more than 8 times the size of their file"),
    ],
)
def test_a_pickle_that_is_no_mapping_of_plain_tensors_is_refused(
    tmp_path: Path, make: Callable[[], Any], said: str
) -> None:
    with warnings.catch_warnings(action="ignore"):
        save(tmp_path, make())
        with pytest.raises(BrokenCheckpoint, match=said):
            convert_pickle(tmp_path)
    assert "model.safetensors" not in names(tmp_path)


def test_a_compressed_pickle_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    save(tmp_path, {"a": torch.zeros(10**6)})
    with zipfile.ZipFile(tmp_path / PICKLE) as stored, zipfile.ZipFile(tmp_path / "small", "w") as small:
        for member in stored.infolist():
            small.writestr(member, stored.read(member), compress_type=zipfile.ZIP_DEFLATED)
    (tmp_path / "small").replace(tmp_path / PICKLE)
    assert (tmp_path / PICKLE).stat().st_size < 10_000
    with pytest.raises(BrokenCheckpoint, match=r"data\.pkl is compressed; it may unpack to any size"):
        convert_pickle(tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_pickle_is_refused_whatever_the_damage(tmp_path: Path, zipped: bool) -> None:
    save(tmp_path, {"a": torch.arange(64.0)}, _use_new_zipfile_serialization=zipped)
    content = (tmp_path / PICKLE).read_bytes()
    damaged = [content[:n] for n in range(0, len(content), 29)]
    damaged += [content[:i] + bytes([content[i] ^ 0xFF]) + content[i + 1 :] for i in range(0, len(content), 11)]
    n_refused = 0
    for damage in damaged:
        (tmp_path / PICKLE).write_bytes(damage)
        try:
            with warnings.catch_warnings(action="ignore"):
                convert_pickle(tmp_path)
        except BrokenCheckpoint:
            n_refused += 1
    assert n_refused > len(damaged) / 4


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"{PICKLE}.index.json").write_text('{"weight_map": {"a": "x.bin", "b": "y.bin"}}')
    torch.save({"a": torch.zeros(1)}, tmp_path / "x.bin")
    torch.save({"a": torch.zeros(1)}, tmp_path / "y.bin")
    with pytest.raises(BrokenCheckpoint, match="tensor a is in two files"):
        convert_pickle(tmp_path)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (None, "pytorch_model.bin is missing"),
        ("{", "index cannot be read"),
        ("[]", "index cannot be read"),
        ('{"weight_map": []}', "index cannot be read"),
        ("[" * 100_000, "index cannot be read"),
        ('{"weight_map": {"a": "../x.bin"}}', "invalid file name '../x.bin'"),
        ('{"weight_map": {"a": "/x.bin"}}', "invalid file name '/x.bin'"),
        ('{"weight_map": {"a": ".x.bin"}}', "invalid file name"),
        ('{"weight_map": {"a": "x.pt"}}', "invalid file name"),
        ('{"weight_map": {"a": null}}', "invalid file name"),
        ('{"weight_map": {"a": "x.bin"}}', "x.bin is missing"),
    ],
)
def test_an_odd_index_is_refused(tmp_path: Path, index: str | None, said: str) -> None:
    (tmp_path.parent / "x.bin").write_bytes(b"outside")
    if index is not None:
        (tmp_path / f"{PICKLE}.index.json").write_text(index)
    with pytest.raises(BrokenCheckpoint, match=said):
        pickle_files(tmp_path)


def test_a_huge_index_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MAX_JSON_BYTES", 10)
    (tmp_path / f"{PICKLE}.index.json").write_text('{"weight_map": {"a": "x.bin"}}')
    with pytest.raises(BrokenCheckpoint, match="larger than 10 bytes"):
        pickle_files(tmp_path)


CONVERTED = """
import sys
from pathlib import Path
from emergence_assets.checkpoints.files import pickles
from emergence_assets.checkpoints.files.pickles import pickle_files
from emergence_assets.checkpoints.models.conversion import convert_pickle
try:
    convert_pickle(Path(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_full_disk_is_no_fault_of_the_checkpoint(tmp_path: Path) -> None:
    with mounted_disk(tmp_path / "small", "1m") as folder:
        save(folder, {"a": torch.zeros(150_000)})
        # In a separate process: an exception here would keep the mapped file open, and so the disk mounted.
        converted = subprocess.run(
            [sys.executable, "-c", CONVERTED, str(folder)], check=True, capture_output=True, text=True
        )
        assert converted.stdout.startswith("EmergenceError The converted weights cannot be written")
        assert "No space left" in converted.stdout
        assert PICKLE in names(folder)


KILLED = """
import os, signal, sys
from pathlib import Path
from emergence_assets.checkpoints.models import conversion
def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "before":
    conversion.publish = kill
else:
    Path.unlink = kill
conversion.convert_pickle(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_conversion_is_done_again(tmp_path: Path, moment: str) -> None:
    save(tmp_path, {"a": torch.arange(10.0)})
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), moment], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert ("model.safetensors" in names(tmp_path)) == (moment == "after")
    assert PICKLE in names(tmp_path)  # until its replacement is safe on disk
    convert_pickle(tmp_path)
    assert names(tmp_path) == {"model.safetensors"}
    assert torch.equal(load_file(tmp_path / "model.safetensors")["a"], torch.arange(10.0))


def test_plain_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / PICKLE).write_bytes(pickle.dumps({"a": [1.0, 2.0]}))
    with warnings.catch_warnings(action="ignore"), pytest.raises(BrokenCheckpoint):
        convert_pickle(tmp_path)
