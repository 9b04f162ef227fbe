"""Placement of a model's weights on devices, by accelerate. Imports torch.

On one GPU every tensor goes from the file to the device, so that the host never holds the model. With
EMERGENCE_DEVICE=spread the blocks take all GPUs in order, then host memory, then files; a block that is not on a GPU is
brought to it for its part of the forward pass.
"""

import os
import re
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from resources.compute.accelerator import is_spread
from resources.compute.machine import available_memory
from resources.errors import EmergenceError

MEMORY_VARIABLE = "EMERGENCE_SPREAD_MEMORY"
"""Environment variable: bytes of host memory that a spread model may take; half of the free memory by default."""


@dataclass(frozen=True)
class Placement:
    """Arguments of `from_pretrained` that place the weights."""

    options: dict[str, Any]
    offload_folder: str | None = None
    """Folder of weights that no memory holds; None without one."""

    def clean_after(self, model: PreTrainedModel) -> None:
        """Delete the folder of weights when the model is not used any more."""
        if self.offload_folder is not None:
            weakref.finalize(model, shutil.rmtree, self.offload_folder, ignore_errors=True)


def placement_on(device: str | torch.device) -> Placement:
    """Return the placement of a model whose inputs are on a device.

    Raises:
        EmergenceError: EMERGENCE_SPREAD_MEMORY is not a number of bytes.
    """
    device = torch.device(device)
    if not is_spread():
        return Placement({} if device.type == "cpu" else {"device_map": {"": str(device)}})
    most: dict[int | str, int] = {
        index: int(0.9 * torch.cuda.mem_get_info(index)[0]) for index in range(torch.cuda.device_count())
    }
    most["cpu"] = _host_memory()
    folder = tempfile.mkdtemp(prefix="emergence-weights-")
    return Placement({"device_map": "auto", "max_memory": most, "offload_folder": folder}, folder)


def input_device(model: PreTrainedModel) -> torch.device | None:
    """Return the device of the inputs of a model whose blocks are on several devices; None for other models."""
    places = set(getattr(model, "hf_device_map", {}).values())
    if len(places) < 2:
        return None
    gpus = sorted(place for place in places if isinstance(place, int))
    return torch.device("cuda", gpus[0]) if gpus else torch.device("cpu")


def require_in_memory(model: nn.Module) -> None:
    """Refuse a model with weights in files: they cannot be changed there.

    Raises:
        EmergenceError: names what to leave out of the study.
    """
    if any(weight.is_meta for weight in model.parameters()):
        raise EmergenceError(
            "The weights of this model are not in memory, and have to be changed.",
            remedy="give it more memory, or leave reinit_keep_embed out of statistics.controls, and `compression` out",
        )


def _host_memory() -> int:
    stated = os.environ.get(MEMORY_VARIABLE)
    if stated is None:
        return available_memory() // 2
    if not re.fullmatch(r"[0-9]{1,18}", stated):
        raise EmergenceError(f"{MEMORY_VARIABLE} is {stated!r}.", remedy="set it to a number of bytes")
    return int(stated)
