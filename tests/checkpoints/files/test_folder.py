"""A checkpoint folder is read without loading it; every kind of damage is detected and named."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from emergence_assets.checkpoints.files.folder import (
    FolderFacts,
    layer_of_tensors,
    read_contents,
    read_facts,
    step_folder_name,
)
from resources.errors import EmergenceError

D_MODEL, N_LAYERS, VOCAB_SIZE = 8, 3, 40
CONFIG = {
    "architectures": ["GPTNeoXForCausalLM"],
    "model_type": "gpt_neox",
}


def make_weights(dtype: str = "float16") -> dict[str, np.ndarray]:
    block = {
        "attention.query_key_value.weight": (3 * D_MODEL, D_MODEL),
        "attention.dense.bias": (D_MODEL,),
        "input_layernorm.weight": (D_MODEL,),
    }
    shapes = {f"gpt_neox.layers.{layer}.{name}": shape for layer in range(N_LAYERS) for name, shape in block.items()}
    shapes |= dict.fromkeys(("gpt_neox.embed_in.weight", "embed_out.weight"), (VOCAB_SIZE, D_MODEL))
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def write_weights(folder: Path, weights: dict[str, np.ndarray]) -> None:
    (folder / "model.safetensors").write_bytes(save(weights, {"format": "pt"}))


def write_header(folder: Path, change) -> None:
    """Replace the header of the weights file by the result of `change`; the data stays."""
    content = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    returned = change(header)
    changed = json.dumps(header if returned is None else returned).encode()
    data = content[8 + length :]
    (folder / "model.safetensors").write_bytes(len(changed).to_bytes(8, "little") + changed + data)


def write_config(folder: Path, **changes: object) -> None:
    config = {name: value for name, value in (CONFIG | changes).items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(config))


def write_index(folder: Path, weight_map: dict[str, object]) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_config(tmp_path)
    write_weights(tmp_path, make_weights())
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
    return tmp_path


def refusal(folder: Path, **options: bool) -> EmergenceError:
    with pytest.raises(EmergenceError) as caught:
        read_facts(folder, **options)
    assert caught.value.remedy
    return caught.value


def test_facts_are_those_of_the_files(folder: Path):
    def sha256(name: str) -> str:
        return hashlib.sha256((folder / name).read_bytes()).hexdigest()

    assert read_facts(folder) == FolderFacts(
        model_type="gpt_neox",
        architecture="GPTNeoXForCausalLM",
        weights_sha256=sha256("model.safetensors"),
        config_sha256=sha256("config.json"),
        tokenizer_sha256=sha256("tokenizer.json"),
        weights_bytes=(folder / "model.safetensors").stat().st_size,
    )


def test_weights_of_any_names_and_shapes_are_whole(folder: Path):
    odd = {"a": np.ones((3, 5, 7), np.float32), "b.0.c": np.ones(4, np.float16), "b.2.d": np.zeros((), np.int8)}
    write_weights(folder, odd)
    assert read_facts(folder).weights_bytes == (folder / "model.safetensors").stat().st_size


def test_weights_in_several_files_are_one_checkpoint(folder: Path):
    whole = read_facts(folder)
    weights = make_weights()
    (folder / "model.safetensors").unlink()
    weight_map = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(weights)}
    for file in set(weight_map.values()):
        (folder / file).write_bytes(save({name: weights[name] for name in weights if weight_map[name] == file}))
    write_index(folder, weight_map)
    in_parts = read_facts(folder)
    assert in_parts.weights_sha256 != whole.weights_sha256

    write_index(folder, weight_map | {"embed_out.weight": weight_map["gpt_neox.embed_in.weight"]})
    assert "which does not hold it" in refusal(folder).what
    write_index(folder, weight_map | {"gpt_neox.final.weight": "model-00001-of-00002.safetensors"})
    assert "index places tensor gpt_neox.final.weight in model-00001" in refusal(folder).what
    write_index(folder, weight_map)

    (folder / "model-00002-of-00002.safetensors").unlink()
    assert refusal(folder).where.endswith("model-00002-of-00002.safetensors")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    error = refusal(folder)
    assert "missing" in error.what
    assert error.where == str(folder / name)


def test_missing_folder_is_refused(tmp_path: Path):
    refusal(tmp_path / "nowhere")


def test_folder_in_place_of_a_file_is_refused(folder: Path):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    assert refusal(folder).where == str(folder / "model.safetensors")


def test_pickle_is_refused_with_a_way_out(folder: Path):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    error = refusal(folder)
    assert "pickle" in error.what
    assert "convert" in error.remedy


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/etc/passwd", "sub/part.safetensors", "", 3])
def test_index_cannot_name_files_outside_the_folder(folder: Path, name: object):
    (folder / "model.safetensors").unlink()
    write_index(folder, {"embed_out.weight": name})
    assert "invalid file name" in refusal(folder).what


@pytest.mark.parametrize("length", [0, 4, 8, 9, 200, -1])
def test_cut_off_weights_are_refused(folder: Path, length: int):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    assert refusal(folder).where == str(path)


def test_bytes_after_the_weights_are_refused(folder: Path):
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    assert "its header describes" in refusal(folder).what


@pytest.mark.parametrize("length", [0, 1, 2**20, 2**63, 2**64 - 1])
def test_header_length_that_lies_is_refused(folder: Path, length: int):
    path = folder / "model.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    refusal(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "F4"},
        {"dtype": None},
        {"shape": [8, -1]},
        {"shape": [True, 8]},
        {"shape": "8"},
        {"shape": [7]},
        {"data_offsets": [0, 16, 32]},
        {"data_offsets": [16, 0]},
        {"data_offsets": [-16, 0]},
        {"data_offsets": [10**30, 10**30 + 16]},
        pytest.param({"shape": [10**4000] * 300}, id="digits"),  # their product has a million
        pytest.param({"shape": [1] * 1000 + [8]}, id="dimensions"),
        pytest.param({"dtype": "x" * 10**6}, id="long"),
    ],
    ids=str,
)
def test_odd_entry_in_the_header_is_refused(folder: Path, change: dict[str, object]):
    def break_entry(header: dict[str, dict[str, object]]) -> None:
        header["gpt_neox.layers.1.input_layernorm.weight"] |= change

    write_header(folder, break_entry)
    assert len(refusal(folder).what) < 1000


def test_a_block_of_a_number_without_end_is_none(folder: Path):
    weights = make_weights()
    weights["gpt_neox.layers." + "9" * 5000 + ".attention.dense.bias"] = np.zeros(D_MODEL, np.float16)
    write_weights(folder, weights)
    layers = {layer for layer, _ in layer_of_tensors(read_contents(folder).tensors).values()}
    assert layers == set(range(N_LAYERS))


def test_tensors_that_share_bytes_are_refused(folder: Path):
    def overlap(header: dict[str, dict[str, object]]) -> None:
        same = header["gpt_neox.layers.0.input_layernorm.weight"]
        header["gpt_neox.layers.1.input_layernorm.weight"]["data_offsets"] = same["data_offsets"]

    write_header(folder, overlap)
    assert "overlap" in refusal(folder).what


@pytest.mark.parametrize("header", [[], 3, {}, {"__metadata__": {}}, {"embed_out.weight": 3}], ids=str)
def test_header_of_another_kind_is_refused(folder: Path, header: object):
    write_header(folder, lambda _: header)
    refusal(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 10_000, b"[]", b"null", b"9" * 5000])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_json_that_is_none_is_refused(folder: Path, name: str, content: bytes):
    (folder / name).write_bytes(content)
    assert refusal(folder).where == str(folder / name)


@pytest.mark.parametrize("field", CONFIG)
def test_config_that_lacks_a_field_is_refused(folder: Path, field: str):
    write_config(folder, **{field: ...})
    error = refusal(folder)
    assert field in error.what
    assert error.where == str(folder / "config.json")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_weights_that_are_not_finite_are_refused(folder: Path, dtype: str, bad: float):
    weights = make_weights(dtype)
    write_weights(folder, weights)
    read_facts(folder)
    weights["gpt_neox.layers.1.attention.query_key_value.weight"][5, 3] = bad
    write_weights(folder, weights)
    error = refusal(folder)
    assert "gpt_neox.layers.1.attention.query_key_value.weight has NaN or infinite" in error.what
    assert isinstance(read_facts(folder, check_finite=False), FolderFacts)


def test_nan_in_bfloat16_is_found(folder: Path):
    weights = {name: (w.view(np.uint32) >> 16).astype(np.uint16) for name, w in make_weights("float32").items()}

    def say_bfloat16(header: dict[str, dict[str, object]]) -> None:
        for name, entry in header.items():
            if name != "__metadata__":
                entry["dtype"] = "BF16"

    write_weights(folder, weights)
    write_header(folder, say_bfloat16)
    read_facts(folder)
    weights["embed_out.weight"][0, 0] = 0x7FC0
    write_weights(folder, weights)
    write_header(folder, say_bfloat16)
    assert "embed_out.weight" in refusal(folder).what


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(min_value=0, max_value=2500), byte=st.integers(min_value=0, max_value=255))
def test_any_changed_byte_is_either_refused_or_harmless(folder: Path, position: int, byte: int):
    path = folder / "model.safetensors"
    original = path.read_bytes()
    changed = bytearray(original)
    changed[position % len(changed)] = byte
    path.write_bytes(changed)
    try:
        assert isinstance(read_facts(folder), FolderFacts)
    except EmergenceError as error:
        assert error.where  # noqa: PT017, both outcomes are right
    finally:
        path.write_bytes(original)


def test_names_of_step_folders():
    assert [step_folder_name(step) for step in (0, 512, 143_000)] == ["step0", "step512", "step143000"]
    with pytest.raises(ValueError, match="negative"):
        step_folder_name(-1)


def test_reading_facts_needs_no_torch(folder: Path):
    code = (
        "import sys; from pathlib import Path; from emergence_assets.checkpoints.files.folder import read_facts;"
        f"read_facts(Path({str(folder)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_copied_folder_has_equal_facts(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "copy")
    assert read_facts(tmp_path / "copy") == read_facts(folder)
