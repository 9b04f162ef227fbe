"""A small real family of models, trained by the project itself, and functions that plant faults into copies of it.

Every fault is planted in place; the function returns the folder of the faulty checkpoint.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from emergence_assets.checkpoints.files.folder import step_folder_name
from emergence_assets.checkpoints.training.settings import ModelShape, TrainingRecipe
from emergence_assets.checkpoints.training.training import train

STEPS = (0, 1, 2, 4, 8, 16, 32, 64)
MODELS: Mapping[str, ModelShape] = {"gloss-tiny": ModelShape(16, 2, 2), "gloss-tinier": ModelShape(8, 1, 2)}
Weights = dict[str, np.ndarray]


def trained_family(
    folder: Path,
    steps: Sequence[int] = STEPS,
    models: Mapping[str, ModelShape] = MODELS,
    seed: int = 0,
    context: int = 32,
) -> Path:
    """Train each model into `{folder}/{model}/step{N}/`; returns `folder`."""
    for model, shape in models.items():
        recipe = TrainingRecipe(
            shape,
            learning_rate=1e-2,
            n_steps=max(1, *steps),
            batch_size=2,
            context=context,
            warm_up_steps=3,
            seed=seed,
        )
        _train(recipe, folder / model, steps)
    return folder


def step_folder(folder: Path, model: str, step: int) -> Path:
    """Return the folder of a checkpoint of the family."""
    return folder / model / step_folder_name(step)


def read_weights(checkpoint: Path) -> Weights:
    """Read all tensors of a checkpoint's safetensors files, by name."""
    weights: Weights = {}
    for path in sorted(checkpoint.glob("*.safetensors")):
        weights |= safetensors.numpy.load_file(path)
    if not weights:
        raise FileNotFoundError(f"no safetensors in {checkpoint}")
    return weights


def write_weights(checkpoint: Path, weights: Weights) -> None:
    """Replace the weights of a checkpoint by these tensors, in one file."""
    _remove_weights(checkpoint)
    (checkpoint / "model.safetensors").write_bytes(safetensors.numpy.save(weights, {"format": "pt"}))


def shard(folder: Path, model: str, step: int, n: int = 2) -> Path:
    """Split the weights into n files with an index, in the layout of transformers."""
    checkpoint = step_folder(folder, model, step)
    weights = read_weights(checkpoint)
    _remove_weights(checkpoint)
    names = _parts(weights, n)
    weight_map = {}
    for number, part in enumerate(names, start=1):
        path = checkpoint / f"model-{number:05d}-of-{n:05d}.safetensors"
        path.write_bytes(safetensors.numpy.save({name: weights[name] for name in part}, {"format": "pt"}))
        weight_map |= dict.fromkeys(part, path.name)
    _write_index(checkpoint / "model.safetensors.index.json", weights, weight_map)
    return checkpoint


def duplicate_step(folder: Path, model: str, source_step: int, onto_step: int) -> Path:
    """Let a step serve the weights of another step, byte for byte; its other files stay."""
    checkpoint = step_folder(folder, model, onto_step)
    _copy_weights(step_folder(folder, model, source_step), checkpoint)
    return checkpoint


def foreign_shard(folder: Path, model: str, step: int, other_step: int, number: int = 1) -> Path:
    """Replace one file of a sharded checkpoint by that of another step, as in published families."""
    checkpoint = step_folder(folder, model, step)
    files = sorted(checkpoint.glob("model-*-of-*.safetensors"))
    if len(files) < 2:
        raise ValueError(f"{checkpoint} is not in parts: call shard first")
    with tempfile.TemporaryDirectory() as scratch:
        other = step_folder(Path(scratch), model, other_step)
        shutil.copytree(step_folder(folder, model, other_step), other)
        shard(Path(scratch), model, other_step, len(files))
        shutil.copyfile(other / files[number - 1].name, files[number - 1])
    return checkpoint


def with_nan(folder: Path, model: str, step: int) -> Path:
    """Write one NaN into the middle of the weights."""
    checkpoint = step_folder(folder, model, step)
    path = sorted(checkpoint.glob("*.safetensors"))[0]
    weights = {name: weight.copy() for name, weight in safetensors.numpy.load_file(path).items()}
    name = max(weights, key=lambda name: ("dense_h_to_4h.weight" in name, name))
    weights[name].flat[weights[name].size // 2] = np.nan
    path.write_bytes(safetensors.numpy.save(weights, {"format": "pt"}))
    return checkpoint


def trained_step_0(folder: Path, model: str, source_step: int = max(STEPS), noise: float = 1e-3) -> Path:
    """Let step 0 serve late weights with a little noise: trained, but equal to no other step."""
    checkpoint = step_folder(folder, model, 0)
    rng = np.random.default_rng(0)
    late = read_weights(step_folder(folder, model, source_step))
    noisy = {
        name: (weight + noise * max(float(weight.std()), noise) * rng.normal(size=weight.shape)).astype(weight.dtype)
        for name, weight in sorted(late.items())
    }
    write_weights(checkpoint, noisy)
    return checkpoint


def other_seed(folder: Path, model: str, step: int, seed: int = 1) -> Path:
    """Let one step serve the weights of a run with another seed at that step; its metadata stays."""
    checkpoint = step_folder(folder, model, step)
    notes = json.loads((checkpoint / "training.json").read_text(encoding="utf-8"))["recipe"]
    recipe = TrainingRecipe(
        **{**notes, "shape": ModelShape(**notes["shape"]), "betas": tuple(notes["betas"]), "seed": seed}
    )
    with tempfile.TemporaryDirectory() as scratch:
        _train(recipe, Path(scratch) / model, [step])
        _copy_weights(step_folder(Path(scratch), model, step), checkpoint)
    return checkpoint


def missing_file(folder: Path, model: str, step: int, name: str = "config.json") -> Path:
    """Remove one file of a checkpoint."""
    checkpoint = step_folder(folder, model, step)
    (checkpoint / name).unlink()
    return checkpoint


def other_architecture(folder: Path, model: str, step: int) -> Path:
    """Let one step serve a complete and loadable GPT-2 of the same width and depth."""
    checkpoint = step_folder(folder, model, step)
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        other = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=config["vocab_size"],
                n_positions=config["max_position_embeddings"],
                n_embd=config["hidden_size"],
                n_layer=config["num_hidden_layers"],
                n_head=config["num_attention_heads"],
                bos_token_id=0,
                eos_token_id=0,
            )
        )
    other.config.architectures = [type(other).__name__]
    (checkpoint / "config.json").write_text(other.config.to_json_string(), encoding="utf-8")
    write_weights(checkpoint, {name: weight.detach().half().numpy() for name, weight in other.named_parameters()})
    return checkpoint


def other_tokenizer(folder: Path, model: str, step: int, n_merges: int = 1700) -> Path:
    """Take the last merges from the tokenizer, so that some texts have more tokens and do not fit into the context."""
    checkpoint = step_folder(folder, model, step)
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    assert len(tokenizer["model"]["merges"]) > n_merges
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:n_merges]
    (checkpoint / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    return checkpoint


def as_pickle(folder: Path, model: str, step: int, n: int = 1) -> Path:
    """Store the weights as pytorch_model.bin in place of safetensors, as early publications did; n > 1: in shards."""
    checkpoint = step_folder(folder, model, step)
    weights = read_weights(checkpoint)
    _remove_weights(checkpoint)
    tensors = {name: torch.from_numpy(weight.copy()) for name, weight in weights.items()}
    if n == 1:
        torch.save(tensors, checkpoint / "pytorch_model.bin")
        return checkpoint
    weight_map = {}
    for number, part in enumerate(_parts(weights, n), start=1):
        path = checkpoint / f"pytorch_model-{number:05d}-of-{n:05d}.bin"
        torch.save({name: tensors[name] for name in part}, path)
        weight_map |= dict.fromkeys(part, path.name)
    _write_index(checkpoint / "pytorch_model.bin.index.json", weights, weight_map)
    return checkpoint


class _RunsWhenLoaded:
    """Makes a folder when it is unpickled; it stands for any code."""

    def __init__(self, marker: Path):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def evil_pickle(folder: Path, model: str, step: int, marker: Path) -> Path:
    """Store the weights as a pickle that makes `marker` (a folder) when it is loaded without restriction."""
    checkpoint = as_pickle(folder, model, step)
    path = checkpoint / "pytorch_model.bin"
    tensors: dict[str, Any] = torch.load(path, weights_only=True)
    torch.save({**tensors, "evil": _RunsWhenLoaded(marker)}, path)
    return checkpoint


def with_remote_code(folder: Path, model: str, step: int, marker: Path, model_type: str | None = None) -> Path:
    """Add code to a checkpoint that makes `marker` (a folder) when it is run.

    With `model_type` the config also names a type that no library knows, so that only the code could load it.
    """
    checkpoint = step_folder(folder, model, step)
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {
        "AutoConfig": "modeling_evil.EvilConfig",
        "AutoModelForCausalLM": "modeling_evil.EvilForCausalLM",
    }
    if model_type is not None:
        config["model_type"] = model_type
    (checkpoint / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    code = (
        "import os\n\nfrom transformers import GPTNeoXConfig, GPTNeoXForCausalLM\n\n"
        f"os.makedirs({str(marker)!r}, exist_ok=True)\n\n\n"
        f"class EvilConfig(GPTNeoXConfig):\n    model_type = {config['model_type']!r}\n\n\n"
        "class EvilForCausalLM(GPTNeoXForCausalLM):\n    config_class = EvilConfig\n"
    )
    (checkpoint / "modeling_evil.py").write_text(code, encoding="utf-8")
    return checkpoint


def wrong_offsets(folder: Path, model: str, step: int) -> Path:
    """Damage the header of the weights: one tensor begins at the offset of another."""
    checkpoint = step_folder(folder, model, step)
    path = sorted(checkpoint.glob("*.safetensors"))[0]
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    by_place = sorted((name for name in header if name != "__metadata__"), key=lambda n: header[n]["data_offsets"])
    first, second = header[by_place[-1]]["data_offsets"]
    header[by_place[-1]]["data_offsets"] = [first - 2, second - 2]
    changed = json.dumps(header).encode()
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + length :])
    return checkpoint


def _train(recipe: TrainingRecipe, folder: Path, steps: Sequence[int]) -> None:
    train(recipe, folder, steps)
    (folder / ".training.lock").unlink(missing_ok=True)  # a published family has none


def _parts(weights: Weights, n: int) -> list[list[str]]:
    """Split the names of tensors into n shards of about equal size, none empty; the same for all steps of a model."""
    if not 1 <= n <= len(weights):
        raise ValueError(f"cannot split {len(weights)} tensors into {n} parts")
    parts: list[list[str]] = [[]]
    names, done, total = sorted(weights), 0, sum(weight.nbytes for weight in weights.values())
    for i, name in enumerate(names):
        n_left, n_parts_left = len(names) - i, n - len(parts)
        is_full = done >= total * len(parts) / n
        if parts[-1] and n_parts_left and (is_full or n_left <= n_parts_left):
            parts.append([])
        parts[-1].append(name)
        done += weights[name].nbytes
    return parts


def _write_index(path: Path, weights: Weights, weight_map: dict[str, str]) -> None:
    metadata = {"total_size": sum(weight.nbytes for weight in weights.values())}
    text = json.dumps({"metadata": metadata, "weight_map": weight_map}, indent=2, sort_keys=True) + "\n"
    path.write_text(text, encoding="utf-8")


def _weights_files(checkpoint: Path) -> list[Path]:
    patterns = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json")
    return [path for pattern in patterns for path in checkpoint.glob(pattern)]


def _remove_weights(checkpoint: Path) -> None:
    for path in _weights_files(checkpoint):
        path.unlink()


def _copy_weights(source: Path, checkpoint: Path) -> None:
    _remove_weights(checkpoint)
    for path in _weights_files(source):
        shutil.copyfile(path, checkpoint / path.name)
