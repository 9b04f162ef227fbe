"""A checkpoint folder becomes a model that computes with the stored weights, or is refused with a clear message."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from emergence_assets.checkpoints.models.loading import blocks, hook_point_name, load_model
from emergence_assets.texts.wordnet import corpus
from resources.errors import BrokenCheckpoint, EmergenceError

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


def test_weights_of_another_shape_are_refused(folder: Path):
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights["gpt_neox.final_layer_norm.weight"] = torch.ones(17)
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(weights, {"format": "pt"}))
    with pytest.raises(EmergenceError):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"half"])
def test_damaged_file_is_refused(folder: Path, name: str, content: bytes | None):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(EmergenceError, match="cannot load"):
        load_model(folder)


def test_pickle_is_not_read(stored: GPTNeoXForCausalLM, folder: Path):
    (folder / "model.safetensors").unlink()
    torch.save(stored.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(EmergenceError, match="cannot load"):
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
    stored.add_module("twin", nn.ModuleList(nn.Identity() for _ in range(3)))
    with pytest.raises(EmergenceError, match="2 lists of 3 modules"):
        blocks(stored)
    stored.config.num_hidden_layers = 5
    with pytest.raises(EmergenceError, match="0 lists of 5 modules"):
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
