"""Weights that were published as pickles, turned into safetensors once. T: imports torch.

A pickle can run any code when it is loaded. It is opened with `weights_only`, which builds tensors and nothing else,
and replaced, so that everything behind this module reads safetensors.
"""

import pickle
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from emergence_assets.checkpoints.files.pickles import FETCH_AGAIN, INDEX, pickle_files
from resources.errors import BrokenCheckpoint, EmergenceError
from resources.files.atomic import publish

MAX_SHARING = 8
"""Tensors that share memory are as many times larger than their file at most; tied embeddings make it two."""


def convert_pickle(folder: Path) -> None:
    """Replace the pickled weights of a folder by `model.safetensors`; the pickles go when that file is safe on disk.

    Raises:
        BrokenCheckpoint: a pickle is damaged, needs more than tensors, or claims more than its file holds.
        EmergenceError: the disk is full.
    """
    files = pickle_files(folder)
    tensors: dict[str, torch.Tensor] = {}
    for path in files:
        loaded = _load(path)
        # A tensor of strides 0 may claim terabytes in a file of a kilobyte.
        n_bytes, most = sum(tensor.nbytes for tensor in loaded.values()), MAX_SHARING * path.stat().st_size
        if n_bytes > most:
            what = f"the weights claim {n_bytes} bytes, more than {MAX_SHARING} times their file"
            raise BrokenCheckpoint(what, where=path, remedy=FETCH_AGAIN)
        for name, tensor in loaded.items():
            if name in tensors:
                raise BrokenCheckpoint(f"tensor {name} is in two files", where=path, remedy=FETCH_AGAIN)
            # Tensors may share memory in a pickle; safetensors holds each by itself.
            tensors[name] = tensor.detach().clone().contiguous()
    if not tensors:
        raise BrokenCheckpoint("the weights hold no tensors", where=folder, remedy=FETCH_AGAIN)
    temporary = folder / ".model.safetensors.partial"
    try:
        save_file(tensors, temporary, {"format": "pt"})
    except SafetensorError as error:  # all that it knows of disks
        remedy = "free some space and run again"
        raise EmergenceError(
            f"The converted weights cannot be written: {error}", where=folder, remedy=remedy
        ) from error
    except (KeyError, ValueError) as error:  # a type of numbers, or a name, that the format does not know
        what = f"the weights cannot be stored as safetensors: {error}"
        raise BrokenCheckpoint(what, where=folder, remedy=FETCH_AGAIN) from error
    publish(temporary, folder / "model.safetensors")
    for path in [*files, folder / INDEX]:
        path.unlink(missing_ok=True)


def _load(path: Path) -> dict[str, torch.Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        said = str(error).splitlines()
        raise BrokenCheckpoint(
            f"the pickle wants to do more than give tensors: {said[0] if said else 'it says not what'}",
            where=path,
            remedy="do not load it otherwise; " + FETCH_AGAIN,
        ) from None
    except Exception as error:  # a damaged pickle makes the library stumble anywhere
        what = f"the weights cannot be read: {type(error).__name__}: {error}"
        raise BrokenCheckpoint(what, where=path, remedy=FETCH_AGAIN) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in loaded.items()
    ):
        raise BrokenCheckpoint("the weights are no mapping of names to tensors", where=path, remedy=FETCH_AGAIN)
    for name, tensor in loaded.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            kind = "quantized" if tensor.is_quantized else f"{tensor.layout} on {tensor.device}"
            raise BrokenCheckpoint(f"tensor {name} is {kind}, not dense", where=path, remedy=FETCH_AGAIN)
    return loaded
