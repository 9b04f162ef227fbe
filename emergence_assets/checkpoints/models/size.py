"""Compare the size of the model that a config describes with its weights, before memory or time is spent."""

import math
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig

from emergence_assets.checkpoints.files.folder import weights_files
from emergence_assets.checkpoints.files.safetensors_file import read_header, refuse

NOT_TOGETHER = "replace config.json or the weights: they are of different models, or the weights are not whole"
"""Remedy for a config and weights that do not fit each other."""
FREE_MODULES = 2_000
"""Number of layers or experts that a config may name whatever the weights hold; some are parts of one tensor."""
FREE_PARAMETERS = 10_000_000
"""Parameters that a model may have beyond `LARGEST_RATIO`: it is small anyway."""
LARGEST_RATIO = 4
"""Largest ratio of a model's parameters to those in its weights, for weights that are packed or tied."""
_COUNTED = re.compile(r"(layers?|blocks?|experts|depths?)$", re.IGNORECASE)


def require_size(automatic: Any, config: PreTrainedConfig, folder: Path, *, trusted: bool) -> None:
    """Refuse a config that describes a far larger model than the weights hold: making it could take hours or terabytes.

    Args:
        automatic: class that makes a model from the config.
        config: the config of the folder.
        folder: the checkpoint folder.
        trusted: whether Python code of the checkpoint may be run.

    Raises:
        BrokenCheckpoint: the model is too large, or a file is missing or damaged.
    """
    tensors = [tensor for file in weights_files(folder) for tensor in read_header(file).values()]
    most = max(FREE_MODULES, len(tensors))
    for name, number in _numbers(config.to_dict()):
        if _COUNTED.search(name) and number > most:
            what = f"config.json has {name} {number}, and the weights hold {len(tensors)} tensors"
            refuse(what, folder / "config.json", NOT_TOGETHER)
    is_class = hasattr(automatic, "_from_config")
    build = automatic._from_config if is_class else automatic.from_config
    options: dict[str, Any] = {} if is_class else {"trust_remote_code": trusted}
    options |= dict.fromkeys(("attn_implementation", "experts_implementation"), "eager")  # every class has these
    with torch.device("meta"):  # shapes without memory
        n_described = sum(weight.numel() for weight in build(deepcopy(config), **options).parameters())
    n_stored = sum(math.prod(tensor.shape) for tensor in tensors)
    if n_described > LARGEST_RATIO * n_stored + FREE_PARAMETERS:
        what = f"config.json describes {n_described} parameters, and the weights hold {n_stored}"
        refuse(what, folder / "config.json", NOT_TOGETHER)


def _numbers(declared: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Yield all integers of a config with the names of their fields."""
    if isinstance(declared, Mapping):
        for key, value in declared.items():
            yield from _numbers(value, str(key))
    elif isinstance(declared, list | tuple):
        for value in declared:
            yield from _numbers(value, name)
    elif isinstance(declared, int):
        yield name, declared
