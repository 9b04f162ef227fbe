"""Exported rows equal the stored rows, by the described layouts and by the libraries that read them."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from emergence_assets.activations.files.export import SHARD_ROWS, export_for_dictionary_learning, export_for_sae_lens
from emergence_assets.activations.files.reading import Rows
from emergence_assets.texts.tokens import Tokens
from resources.errors import EmergenceError
from resources.hdf5.hdf5 import to_float32, to_storage

D_MODEL, N_ROWS, CONTEXT = 6, 50, 4
HOOK = "blocks.3.hook_resid_post"
PEERS = Path(__file__).parents[3] / ".peers/bin/python"


def some_rows(dtype: str) -> Rows:
    x_td = np.random.default_rng(0).normal(size=(N_ROWS, D_MODEL)).astype(np.float32)
    return Rows(to_storage(x_td, dtype), dtype)


def some_tokens() -> Tokens:
    ids = tuple(np.array([0, *range(start, start + 5)], np.int32) for start in range(1, N_ROWS, 5))
    names = tuple(f"t{index}" for index in range(len(ids)))
    return Tokens(names, ids, ("p",), (np.array([0, 1], np.int32),), "all", 8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_data_set_holds_the_rows_in_sequences(tmp_path: Path, dtype: str) -> None:
    rows, tokens = some_rows(dtype), some_tokens()
    assert export_for_sae_lens(rows, tokens, HOOK, CONTEXT, tmp_path / "out") == N_ROWS // CONTEXT
    with pa.ipc.open_stream((tmp_path / "out/data-00000-of-00001.arrow").read_bytes()) as stream:
        table = stream.read_all()
    found = np.array(table[HOOK].to_pylist(), np.float32).reshape(-1, D_MODEL)
    np.testing.assert_array_equal(found, to_float32(rows.array, dtype)[: len(found)])
    assert np.array(table["token_ids"].to_pylist()).ravel().tolist() == list(range(1, len(found) + 1))
    described = json.loads((tmp_path / "out/dataset_info.json").read_text())["features"]
    assert described == json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert described[HOOK]["shape"] == [CONTEXT, D_MODEL]


def test_shards_hold_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SHARD_ROWS == 10**6
    monkeypatch.setattr("emergence_assets.activations.files.export.SHARD_ROWS", 20)
    monkeypatch.setattr("emergence_assets.activations.files.export.ROWS_AT_ONCE", 7)
    rows = some_rows("bfloat16")
    assert export_for_dictionary_learning(rows, 8, tmp_path / "out") == 3
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert (config["total_size"], config["shard_count"], config["d_model"]) == (N_ROWS, 3, D_MODEL)
    shards = []
    for shard in range(3):
        shape = tuple(json.loads((tmp_path / f"out/shard_{shard}.meta").read_text())["shape"])
        shards.append(np.memmap(tmp_path / f"out/shard_{shard}.memmap", np.float32, "r", shape=shape))
    np.testing.assert_array_equal(np.concatenate(shards), to_float32(rows.array, "bfloat16"))


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    for write in (
        lambda: export_for_sae_lens(some_rows("float16"), some_tokens(), HOOK, 1, tmp_path),
        lambda: export_for_dictionary_learning(some_rows("float16"), 8, tmp_path),
    ):
        with pytest.raises(EmergenceError, match="not empty"):
            write()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_too_few_rows_for_a_sequence_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmergenceError, match="do not fill a sequence"):
        export_for_sae_lens(some_rows("float16"), some_tokens(), HOOK, N_ROWS + 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


READ_BY_SAE_LENS = """
import sys
import numpy as np
import torch
from types import SimpleNamespace
from sae_lens.training.activations_store import ActivationsStore

folder, hook, context, d_model = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = SimpleNamespace(
    cached_activations_path=folder, hook_name=hook, context_size=context, d_in=d_model,
    device=torch.device("cpu"), dtype=torch.float32,
)
loaded = ActivationsStore.load_cached_activation_dataset(store)
np.save(sys.argv[5], loaded[:][hook].numpy())
"""


@pytest.mark.peers
def test_sae_lens_loads_the_data_set(tmp_path: Path) -> None:
    """Use the loader of SAELens, which compares shapes, with only the fields of the store that it reads."""
    assert PEERS.exists(), "type `make peers`"
    rows = some_rows("float16")
    export_for_sae_lens(rows, some_tokens(), HOOK, CONTEXT, tmp_path / "out")
    script, read = tmp_path / "read.py", tmp_path / "read.npy"
    script.write_text(READ_BY_SAE_LENS)
    arguments = [str(tmp_path / "out"), HOOK, str(CONTEXT), str(D_MODEL), str(read)]
    subprocess.run([str(PEERS), str(script), *arguments], check=True, timeout=300)
    found = np.load(read).reshape(-1, D_MODEL)
    np.testing.assert_array_equal(found, to_float32(rows.array, "float16")[: len(found)])
    assert len(found) == N_ROWS // CONTEXT * CONTEXT
