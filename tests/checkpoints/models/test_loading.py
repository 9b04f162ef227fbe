"""A checkpoint folder becomes a model that computes with the stored weights, or is refused with a clear message."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MptConfig,
    MptForCausalLM,
)

from emergence_assets.checkpoints.models.blocks import blocks, hook_point_name
from emergence_assets.checkpoints.models.facts import model_facts
from emergence_assets.checkpoints.models.loading import load_model
from emergence_assets.texts.wordnet import corpus
from resources.errors import BrokenCheckpoint, EmergenceError, UnsupportedModel

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


@pytest.fixture
def stored() -> GPTNeoXForCausalLM:
    torch.manual_seed(0)
    return GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL)).eval()


@pytest.fixture
def folder(stored: GPTNeoXForCausalLM, tmp_path: Path) -> Path:
    """Write a folder by hand, as `training.py` does: config as text, weights in half precision."""
    stored.config.architectures = ["GPTNeoXForCausalLM"]
    (tmp_path / "config.json").write_text(stored.config.to_json_string())
    names = {"lm_head.weight": "embed_out.weight"}  # in memory and in files
    weights = {names.get(name, name): weight.detach().half() for name, weight in stored.named_parameters()}
    (tmp_path / "model.safetensors").write_bytes(safetensors.torch.save(weights, {"format": "pt"}))
    (tmp_path / "tokenizer.json").write_bytes(corpus.TOKENIZER_PATH.read_bytes())
    return tmp_path


def test_a_loaded_model_computes_with_the_stored_weights(stored: GPTNeoXForCausalLM, folder: Path):
    model = load_model(folder)
    assert not model.training
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert not any(weight.requires_grad for weight in model.parameters())
    assert model.config._attn_implementation == "sdpa"
    tokens_pt = torch.arange(10)[None]
    torch.testing.assert_close(model(tokens_pt).logits, stored(tokens_pt).logits, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("model_class", "config"),
    [
        (BloomForCausalLM, BloomConfig(vocab_size=64, hidden_size=16, n_layer=3, n_head=2)),
        (Gemma2ForCausalLM, Gemma2Config(**SMALL, head_dim=8, num_key_value_heads=2, pad_token_id=0)),
        (GPTJForCausalLM, GPTJConfig(vocab_size=64, n_embd=16, n_layer=3, n_head=2, rotary_dim=4)),
        (MptForCausalLM, MptConfig(vocab_size=64, d_model=16, n_layers=3, n_heads=2)),
    ],
    ids=["bloom", "gemma2", "gptj", "mpt"],
)
def test_attention_that_torch_has_no_kernel_for_is_computed_by_its_formula(model_class, config, tmp_path: Path):
    assert not model_class._supports_sdpa
    stored = model_class(config).eval()
    stored.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert model.config._attn_implementation == "eager"
    tokens_pt = torch.arange(10)[None]
    torch.testing.assert_close(model(tokens_pt).logits, stored(tokens_pt).logits)


def test_a_config_does_not_choose_the_attention(folder: Path):
    change_config(folder, attn_implementation="somebody/kernel")
    assert load_model(folder).config._attn_implementation == "sdpa"


def test_a_config_does_not_choose_the_weights_file(folder: Path):
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    others = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    (folder / "others.safetensors").write_bytes(safetensors.torch.save(others, {"format": "pt"}))
    change_config(folder, transformers_weights="others.safetensors")
    assert load_model(folder).get_input_embeddings().weight.any()


def test_dtype_is_as_requested(folder: Path):
    assert load_model(folder, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_model_that_transformers_saved_is_loaded(stored: GPTNeoXForCausalLM, tmp_path: Path):
    stored.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    tokens_pt = torch.arange(10)[None]
    torch.testing.assert_close(model(tokens_pt).logits, stored(tokens_pt).logits)


@pytest.mark.parametrize("missing", ["gpt_neox.layers.1.mlp.dense_4h_to_h.weight", "embed_out.weight"])
def test_missing_weights_are_not_made_up(folder: Path, missing: str):
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    del weights[missing]
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(weights, {"format": "pt"}))
    with pytest.raises(EmergenceError, match="lack 1 tensors"):
        load_model(folder)


def change_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("vocab_size", 65, r"embed_in\.weight has shape \(64, 16\), config\.json requires \(65, 16\)"),
        ("hidden_size", 32, r"has shape .* config\.json requires"),
        ("num_hidden_layers", 4, r"lack 12 tensors that the model needs, the first is gpt_neox\.layers\.3\."),
        ("num_hidden_layers", 2, r"12 tensors of blocks .* does not describe, the first is gpt_neox\.layers\.2\."),
    ],
    ids=["vocabulary", "width", "too few blocks", "too many blocks"],
)
def test_weights_that_do_not_fit_the_config_are_refused_by_name(folder: Path, field: str, value: int, what: str):
    change_config(folder, **{field: value})
    with pytest.raises(BrokenCheckpoint, match=what) as refused:
        load_model(folder)
    assert not isinstance(refused.value, UnsupportedModel)
    assert "delete" not in refused.value.remedy


def test_one_tensor_of_another_shape_is_refused_by_name(folder: Path):
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights["gpt_neox.layers.2.input_layernorm.weight"] = torch.ones(17)
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(weights, {"format": "pt"}))
    with pytest.raises(BrokenCheckpoint, match=r"layers\.2\.input_layernorm\.weight has shape \(17,\)"):
        load_model(folder)


def test_buffers_of_old_checkpoints_and_weights_of_other_parts_may_be_left_over(
    stored: GPTNeoXForCausalLM, folder: Path
):
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    for layer in range(3):
        weights[f"gpt_neox.layers.{layer}.attention.bias"] = torch.ones(1, 1, 16, 16, dtype=torch.bool)
        weights[f"gpt_neox.layers.{layer}.attention.masked_bias"] = torch.tensor(-1e9)
        weights[f"gpt_neox.layers.{layer}.attention.rotary_emb.inv_freq"] = torch.ones(2)
    weights["value_head.weight"] = torch.ones(1, 16)
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(weights, {"format": "pt"}))
    n_params = sum(weight.numel() for weight in stored.parameters())
    assert model_facts(load_model(folder)).n_params == n_params


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"half"])
def test_damaged_file_is_refused(folder: Path, name: str, content: bytes | None):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(BrokenCheckpoint, match=r"cannot load|model\.safetensors is missing|not a safetensors file"):
        load_model(folder)


def test_pickle_is_not_read(stored: GPTNeoXForCausalLM, folder: Path):
    (folder / "model.safetensors").unlink()
    torch.save(stored.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(BrokenCheckpoint, match="only as pickles"):
        load_model(folder)


def test_code_of_a_checkpoint_is_not_run(folder: Path):
    (folder / "evil.py").write_text("raise SystemExit('code of the checkpoint ran')")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EmergenceError, match="cannot load"):
        load_model(folder)


@pytest.mark.parametrize(
    ("model_class", "config", "name", "embedding"),
    [
        (GPTNeoXForCausalLM, GPTNeoXConfig(**SMALL), "gpt_neox.layers", "gpt_neox.embed_in"),
        (
            GPT2LMHeadModel,
            GPT2Config(vocab_size=64, n_embd=16, n_layer=3, n_head=2),
            "transformer.h",
            "transformer.wte",
        ),
        (LlamaForCausalLM, LlamaConfig(**SMALL), "model.layers", "model.embed_tokens"),
    ],
)
def test_blocks_are_found_in_any_decoder(model_class, config, name: str, embedding: str):
    model = model_class(config)
    assert len(blocks(model)) == 3
    assert [hook_point_name(model, layer) for layer in (-1, 0, 2)] == [embedding, f"{name}.0", f"{name}.2"]
    assert model.get_submodule(hook_point_name(model, 1)) is blocks(model)[1]
    for layer in (-2, 3):
        with pytest.raises(ValueError, match="layer"):
            hook_point_name(model, layer)


def test_list_inside_a_block_is_not_taken_for_the_blocks(stored: GPTNeoXForCausalLM):
    expected = blocks(stored)
    stored.gpt_neox.layers[0].add_module("experts", nn.ModuleList(nn.Identity() for _ in range(3)))
    assert blocks(stored) is expected


def test_ambiguous_or_missing_block_list_is_refused(stored: GPTNeoXForCausalLM):
    stored.add_module("twin", copy.deepcopy(blocks(stored)))
    with pytest.raises(UnsupportedModel, match=r"2 lists of modules .* gpt_neox\.layers, twin") as refused:
        blocks(stored)
    assert "family.blocks" in refused.value.remedy
    assert blocks(stored, "twin") is stored.get_submodule("twin")
    with pytest.raises(EmergenceError, match="no list of blocks 'elsewhere'"):
        blocks(stored, "elsewhere")
    del stored.twin, stored.gpt_neox.layers
    with pytest.raises(UnsupportedModel, match="0 lists of modules"):
        blocks(stored)


def test_a_package_that_is_not_installed_is_no_fault_of_the_checkpoint(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    own = {"auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}, "model_type": "own"}
    (folder / "config.json").write_text(json.dumps(config | own))
    (folder / "own.py").write_text("import a_package_that_nobody_has\nclass OwnConfig: pass\nclass OwnModel: pass\n")
    with pytest.raises(EmergenceError, match="a_package_that_nobody_has") as refused:
        load_model(folder, trusted=True)
    assert not isinstance(refused.value, BrokenCheckpoint)
    assert "install" in refused.value.remedy


IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from emergence_assets.checkpoints.models.loading import load_model
from resources.errors import BrokenCheckpoint, EmergenceError
load_model(Path(sys.argv[1]))  # imports are complete
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 40_000_000, -1))
try:
    load_model(Path(sys.argv[2]))
except EmergenceError as error:
    print("broken" if isinstance(error, BrokenCheckpoint) else "machine", error.what)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit needs Linux")
def test_too_little_memory_is_no_fault_of_the_checkpoint(folder: Path, tmp_path: Path):
    large = GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL | {"hidden_size": 1024, "intermediate_size": 4096}))
    large.save_pretrained(tmp_path / "large")
    arguments = [sys.executable, "-c", IN_LITTLE_MEMORY, str(folder), str(tmp_path / "large")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("machine"), done.stdout + done.stderr
    load_model(tmp_path / "large")
