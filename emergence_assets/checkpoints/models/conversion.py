"""Convert weights that were published as pickles to safetensors. Imports torch.

A pickle can run any code when it is loaded. It is opened once, with `weights_only`, which only builds tensors, and then
replaced; all other modules read safetensors.
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
"""Largest ratio of tensor bytes to file bytes, above 1 for tensors that share memory; 2 for tied embeddings."""


def convert_pickle(folder: Path) -> None:
    """Replace the pickled weights of a folder by `model.safetensors`; pickles are deleted once that file is on disk.

    Raises:
        BrokenCheckpoint: a pickle is damaged, holds other objects than tensors, or its tensors exceed its file.
        EmergenceError: the disk is full.
    """
    files = pickle_files(folder)
    tensors: dict[str, torch.Tensor] = {}
    for path in files:
        loaded = _load(path)
        # A tensor with strides of 0 may take terabytes from a file of one kilobyte.
        n_bytes, most = sum(tensor.nbytes for tensor in loaded.values()), MAX_SHARING * path.stat().st_size
        if n_bytes > most:
            what = f"the weights take {n_bytes} bytes, more than {MAX_SHARING} times the size of their file"
            raise BrokenCheckpoint(what, where=path, remedy=FETCH_AGAIN)
        for name, tensor in loaded.items():
            if name in tensors:
                raise BrokenCheckpoint(f"tensor {name} is in two files", where=path, remedy=FETCH_AGAIN)
            # Tensors may share memory in a pickle, but not in safetensors.
            tensors[name] = tensor.detach().clone().contiguous()
    if not tensors:
        raise BrokenCheckpoint("the weights hold no tensors", where=folder, remedy=FETCH_AGAIN)
    temporary = folder / ".model.safetensors.partial"
    try:
        save_file(tensors, temporary, {"format": "pt"})
    except SafetensorError as error:  # also raised for a full disk
        remedy = "free some space and run again"
        raise EmergenceError(
            f"The converted weights cannot be written: {error}", where=folder, remedy=remedy
        ) from error
    except (KeyError, ValueError) as error:  # a data type or name that the format does not support
        what = f"the weights cannot be stored as safetensors: {error}"
        raise BrokenCheckpoint(what, where=folder, remedy=FETCH_AGAIN) from error
    publish(temporary, folder / "model.safetensors")
    for path in [*files, folder / INDEX]:
        path.unlink(missing_ok=True)


def _load(path: Path) -> dict[str, torch.Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        lines = str(error).splitlines()
        raise BrokenCheckpoint(
            f"the pickle holds other objects than tensors: {lines[0] if lines else 'unknown objects'}",
            where=path,
            remedy="do not load it by other means; " + FETCH_AGAIN,
        ) from None
    except Exception as error:  # a damaged pickle can raise any exception
        what = f"the weights cannot be read: {type(error).__name__}: {error}"
        raise BrokenCheckpoint(what, where=path, remedy=FETCH_AGAIN) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in loaded.items()
    ):
        raise BrokenCheckpoint("the weights are not a mapping of names to tensors", where=path, remedy=FETCH_AGAIN)
    for name, tensor in loaded.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            kind = "quantized" if tensor.is_quantized else f"{tensor.layout} on {tensor.device}"
            raise BrokenCheckpoint(f"tensor {name} is {kind}, not dense", where=path, remedy=FETCH_AGAIN)
    return loaded
