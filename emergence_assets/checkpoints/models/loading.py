"""Load a checkpoint folder as a model. Imports torch and transformers."""

import errno
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from emergence_assets.checkpoints.architecture import is_language_model
from resources.errors import BrokenCheckpoint, EmergenceError

_LOADING_ERRORS = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, SafetensorError),
    MemoryError,
)
"""Errors that transformers raises for a folder that it cannot load."""
_MACHINE_ERRORS = (ImportError, MemoryError, torch.OutOfMemoryError, torch.AcceleratorError)
"""Errors that are no property of the folder: another machine or environment may load it."""
_NO_MEMORY = re.compile(r"allocate memory|out of memory|not enough memory", re.IGNORECASE)
_FETCH_AGAIN = "delete this checkpoint's folder and fetch or train it again"


def load_model(
    folder: Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    trusted: bool = False,
) -> PreTrainedModel:
    """Load the model of a checkpoint folder, in evaluation mode and without gradients.

    Nothing is downloaded and no pickle is read. A language model is loaded with its head, an encoder without. The model
    computes in `dtype`, whatever the stored data type: published checkpoints are stored in half precision.

    Args:
        folder: folder in Hugging Face layout, with weights as safetensors.
        device: device of the model.
        dtype: data type of the computation.
        trusted: run Python code of the checkpoint, if its config requires it.

    Raises:
        BrokenCheckpoint: transformers cannot load the folder, or weights of the model are missing.
        EmergenceError: this machine cannot load it: too little memory, a package that its code needs, a disk error.
    """
    disable_progress_bar()  # of loading weights: it would disturb our own progress bar
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trusted)
        kind = AutoModelForCausalLM if is_language_model(_named(config)) else AutoModel
        loaded: Any = kind.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trusted,
            output_loading_info=True,
        )
    except _LOADING_ERRORS as error:
        _raise_if_of_machine(error, folder)
        what = f"cannot load this checkpoint: {type(error).__name__}: {error}"
        raise BrokenCheckpoint(what, where=folder, remedy=_FETCH_AGAIN) from error
    model, loading = loaded
    # transformers fills missing weights with random numbers and only logs it. A pooler may be missing: it follows the
    # last block, and its output is not read.
    missing = map(str, [*loading["missing_keys"], *loading["mismatched_keys"]])
    if absent := sorted(name for name in missing if not name.startswith("pooler.")):
        what = f"weights lack {len(absent)} tensors that the model needs, the first is {absent[0]}"
        raise BrokenCheckpoint(what, where=folder, remedy=_FETCH_AGAIN)
    return model.eval().requires_grad_(False).to(device)


def _raise_if_of_machine(error: BaseException, folder: Path) -> None:
    """Raise an EmergenceError if an error while loading, or a cause of it, is no property of the folder."""
    cause: BaseException | None = error
    while cause is not None:
        has_number = isinstance(cause, OSError) and cause.errno not in (None, errno.ENOENT)
        if isinstance(cause, _MACHINE_ERRORS) or has_number or _NO_MEMORY.search(str(cause)):
            raise EmergenceError(
                f"This machine cannot load the checkpoint: {type(cause).__name__}: {cause}",
                where=folder,
                remedy="install the package"
                if isinstance(cause, ImportError)
                else "free memory or disk, or use a larger machine; then run again",
            ) from error
        cause = cause.__cause__ or cause.__context__


def _named(config: PreTrainedConfig) -> str | None:
    return (config.architectures or [None])[0]


def is_causal(model: PreTrainedModel) -> bool:
    """Return whether positions attend only to earlier ones; in an encoder also to later ones and unmasked padding."""
    return is_language_model(_named(model.config))


def blocks(model: PreTrainedModel, named: str | None = None) -> nn.ModuleList:
    """Find the blocks of a model in order; the output of block i is the residual stream of layer i.

    Args:
        model: any decoder or encoder.
        named: module path of the list, such as `gpt_neox.layers`; by default it is found.

    Raises:
        EmergenceError: no list of modules, or more than one, has the length of the config; or there is no list with
            the given name.
    """
    return _blocks_and_name(model, named)[0]


def hook_point_name(model: PreTrainedModel, layer: int, named: str | None = None) -> str:
    """Return the module whose output is the residual stream of a layer, as in `gpt_neox.layers.3`; -1 is the embedding.

    Raises:
        EmergenceError: the blocks are not found; see `blocks`.
        ValueError: the model has no such layer.
    """
    modules, name = _blocks_and_name(model, named)
    if layer == -1:
        embedding = model.get_input_embeddings()
        return next(name for name, module in model.named_modules() if module is embedding)
    if not 0 <= layer < len(modules):
        raise ValueError(f"layer must be between -1 and {len(modules) - 1}, got {layer}")
    return f"{name}.{layer}"


def _blocks_and_name(model: PreTrainedModel, named: str | None) -> tuple[nn.ModuleList, str]:
    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    if named is not None:
        if named not in lists:
            raise EmergenceError(
                f"{type(model).__name__} has no list of blocks {named!r}; it has {', '.join(lists) or 'no lists'}.",
                remedy="correct family.blocks in the study file",
            )
        return lists[named], named
    n_layers = model.config.get_text_config().num_hidden_layers
    found = [name for name, module in lists.items() if len(module) == n_layers]
    # A block may hold a list of the same length, such as its experts.
    outermost = [name for name in found if not any(name.startswith(f"{other}.") for other in found)]
    if len(outermost) != 1:
        raise EmergenceError(
            f"{type(model).__name__} has {len(outermost)} lists of {n_layers} modules {outermost}; one is needed. "
            f"Its lists are {', '.join(lists) or 'none'}.",
            remedy="name the list of blocks as family.blocks in the study file",
        )
    return lists[outermost[0]], outermost[0]
