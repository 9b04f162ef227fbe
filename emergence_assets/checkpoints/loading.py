"""A checkpoint folder as a model in memory. T: imports torch and transformers.

Belongs here: loading a folder that `folder.read_facts` has accepted, and the names inside the model that capture hooks
onto. Does not belong here: where folders come from (`cells.py`), running the model (`activations/capture.py`).
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from emergence_assets.errors import EmergenceError

_FETCH_AGAIN = "delete this checkpoint's folder and fetch or train it again"


def load_model(folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The model of a checkpoint folder, in evaluation mode and without gradients.

    Nothing is fetched, no code of the checkpoint is run and no pickle is read. The dtype is what the model computes in,
    not what is stored: published checkpoints are stored in half precision.

    Raises:
        EmergenceError: transformers cannot load the folder, or had to make up weights that are not in it.
    """
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        what = f"cannot load this checkpoint: {type(error).__name__}: {error}"
        raise EmergenceError(what, where=folder, remedy=_FETCH_AGAIN) from error
    model, loading = loaded
    # transformers fills missing weights with random numbers and only logs it.
    if made_up := sorted(map(str, [*loading["missing_keys"], *loading["mismatched_keys"]])):
        what = f"weights lack {len(made_up)} tensors that the model needs, the first is {made_up[0]}"
        raise EmergenceError(what, where=folder, remedy=_FETCH_AGAIN)
    return model.eval().requires_grad_(False).to(device)


def load_tokenizer_file(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder, read from its tokenizer.json.

    Raises:
        EmergenceError: the file is missing or damaged.
    """
    path = folder / "tokenizer.json"
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for whatever it cannot read
        raise EmergenceError(f"cannot read the tokenizer: {error}", where=path, remedy=_FETCH_AGAIN) from error


def blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The model's blocks in order; the output of block i is the residual stream of layer i.

    Raises:
        EmergenceError: no list of modules, or more than one, is as long as the config says.
    """
    return _blocks_and_name(model)[0]


def hook_point_name(model: PreTrainedModel, layer: int) -> str:
    """Name of the module whose output is a layer's residual stream, as in `gpt_neox.layers.3`; -1 is the embedding."""
    modules, name = _blocks_and_name(model)
    if layer == -1:
        embedding = model.get_input_embeddings()
        return next(name for name, module in model.named_modules() if module is embedding)
    if not 0 <= layer < len(modules):
        raise ValueError(f"layer must be between -1 and {len(modules) - 1}, got {layer}")
    return f"{name}.{layer}"


def _blocks_and_name(model: PreTrainedModel) -> tuple[nn.ModuleList, str]:
    n_layers = model.config.get_text_config().num_hidden_layers
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == n_layers
    }
    # A block may hold a list of the same length, such as its experts.
    outermost = [name for name in found if not any(name.startswith(f"{other}.") for other in found)]
    if len(outermost) != 1:
        raise EmergenceError(
            f"{type(model).__name__} has {len(outermost)} lists of {n_layers} modules {outermost}; one is needed",
            remedy="this architecture is not supported; add a rule to emergence_assets/checkpoints/loading.py",
        )
    return found[outermost[0]], outermost[0]
