"""Load a checkpoint folder as a model. Imports torch and transformers."""

import errno
import re
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from emergence_assets.checkpoints.architecture import is_language_model
from emergence_assets.checkpoints.files.folder import is_buffer
from emergence_assets.checkpoints.files.safetensors_file import refuse
from emergence_assets.checkpoints.models.placement import placement_on
from emergence_assets.checkpoints.models.size import NOT_TOGETHER, require_size
from resources.errors import BrokenCheckpoint, EmergenceError, UnsupportedModel

_LOADING_ERRORS = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, MemoryError),
    *(SafetensorError, StrictDataclassError),
)
"""Errors that transformers raises for a folder that it cannot load."""
_MACHINE_ERRORS = (ImportError, MemoryError, torch.OutOfMemoryError, torch.AcceleratorError)
"""Errors that are no property of the folder: another machine or environment may load it."""
_NO_MEMORY = re.compile(r"allocate memory|out of memory|not enough memory", re.IGNORECASE)
_OTHER_STREAMS = {
    "reformer": "its blocks are reversible and pass on two streams",
    **dict.fromkeys(("inkling2", "inkling2_text"), "its blocks also read the outputs of all earlier blocks"),
}
"""Model types whose blocks pass on more than the hidden state that they report."""
LEAVE_OUT = "leave this model out of the study file; its files are untouched and need no change"
"""Remedy for a model that cannot be studied."""


def load_model(
    folder: Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    trusted: bool = False,
) -> PreTrainedModel:
    """Load the model of a checkpoint folder, in evaluation mode and without gradients.

    Nothing is downloaded and no pickle is read. A language model is loaded with its head, an encoder without. The model
    computes in `dtype`, whatever the stored data type: published checkpoints are stored in half precision. Its weights
    go straight to the device, tensor by tensor; see `placement.py` for models that no device holds.

    Args:
        folder: folder in Hugging Face layout, with weights as safetensors.
        device: device of the model.
        dtype: data type of the computation.
        trusted: run Python code of the checkpoint, if its config requires it.

    Raises:
        BrokenCheckpoint: transformers cannot load the folder, or the names or shapes of its weights are not those of
            the class that its config describes.
        UnsupportedModel: transformers does not know the class as a language model or an encoder of texts.
        EmergenceError: this machine cannot load it: too little memory, a package that its code needs, a disk error.
    """
    disable_progress_bar()  # of loading weights: it would disturb our own progress bar
    set_verbosity_error()  # its report of tensors prints names from outside; what is wrong is raised below
    try:
        config, automatic = loader_of(folder, trusted=trusted)
        require_size(automatic, config, folder, trusted=trusted)
        placement = placement_on(device)
        loaded: Any = automatic.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            # Chosen by the class, whatever the config names: torch's own kernel, else the formula in Python where the
            # kernel lacks a part of the architecture (ALiBi, softcapping, sinks). Likewise for experts.
            attn_implementation=None,
            experts_implementation=None,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trusted,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            output_loading_info=True,
            **placement.options,
        )
    except _LOADING_ERRORS as error:
        _raise_if_of_machine(error, folder)
        what = f"cannot load this checkpoint: {type(error).__name__}: {error}"
        raise BrokenCheckpoint(what, where=folder, remedy=NOT_TOGETHER) from error
    model, loading = loaded
    _require_its_weights(model, loading, folder)
    placement.clean_after(model)
    return model.eval().requires_grad_(False)


def loader_of(folder: Path, *, trusted: bool) -> tuple[PreTrainedConfig, Any]:
    """Return the config of a folder and the class that makes a model from it.

    Raises:
        UnsupportedModel: transformers does not know the class as a language model or an encoder of texts.
        Exception: transformers cannot read the config; its errors are of many classes.
    """
    config = _config(folder, trusted)
    return config, _class_of(config, folder, trusted)


def _config(folder: Path, trusted: bool) -> PreTrainedConfig:
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trusted)
    except ValueError:
        declared, _ = PreTrainedConfig.get_config_dict(folder, local_files_only=True)
        kind = declared.get("model_type")
        if kind is None or kind in CONFIG_MAPPING or declared.get("auto_map"):
            raise
        raise _unsupported(f"the installed transformers does not know the model type {kind!r}", folder) from None
    vars(config).pop("transformers_weights", None)  # names another file than the one that is hashed
    return config


def _class_of(config: PreTrainedConfig, folder: Path, trusted: bool) -> Any:
    """Return the class that loads a model as one stack of blocks that reads tokens.

    Raises:
        UnsupportedModel: there is none; names the reason.
    """
    named = _named(config) or type(config).__name__
    if config.is_encoder_decoder and not named.endswith("ForCausalLM"):  # such a class is the decoder by itself
        raise _unsupported(f"{named} is an encoder-decoder, which has two residual streams", folder)
    if config.model_type in _OTHER_STREAMS:
        raise _unsupported(f"{named} has no single residual stream: {_OTHER_STREAMS[config.model_type]}", folder)
    is_decoder, has_code = is_language_model(named), trusted and getattr(config, "auto_map", None)
    automatic, known = (AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING) if is_decoder else (AutoModel, MODEL_MAPPING)
    if type(config) in known or has_code:
        return automatic
    own = getattr(transformers, named, None)
    if is_decoder and getattr(own, "config_class", None) is type(config):
        return own  # the text part of a model of texts and images, or the whole of it
    kind = "a language model" if is_decoder else "an encoder of texts"
    raise _unsupported(f"transformers does not load {named} as {kind}", folder)


def _unsupported(why: str, folder: Path) -> UnsupportedModel:
    return UnsupportedModel(f"not supported: {why}", where=folder, remedy=LEAVE_OUT)


def _require_its_weights(model: PreTrainedModel, loading: dict[str, Any], folder: Path) -> None:
    """Refuse weights whose names or shapes are not those of the class; transformers only logs them.

    transformers fills missing weights with random numbers. A pooler may be missing: it follows the last block, and its
    output is not read. Weights of other parts, such as the head of an encoder, may be left over, but not blocks.

    Raises:
        BrokenCheckpoint: names the first tensor.
    """
    if wrong := sorted(loading["mismatched_keys"]):
        name, found, expected = wrong[0]
        refuse(f"{name} has shape {tuple(found)}, config.json requires {tuple(expected)}", folder, NOT_TOGETHER)
    if absent := sorted(name for name in map(str, loading["missing_keys"]) if not name.startswith("pooler.")):
        what = f"weights lack {len(absent)} tensors that the model needs, the first is {absent[0]}"
        refuse(what, folder, NOT_TOGETHER)
    lists = [re.escape(name) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    of_block = re.compile(rf"(^|\.)({'|'.join(lists)})\.\d+\.")
    left_over = sorted(name for name in map(str, loading["unexpected_keys"]) if of_block.search(name))
    if left_over := [name for name in left_over if not is_buffer(name)]:
        what = f"weights hold {len(left_over)} tensors of blocks that config.json does not describe"
        refuse(f"{what}, the first is {left_over[0]}", folder, NOT_TOGETHER)


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
