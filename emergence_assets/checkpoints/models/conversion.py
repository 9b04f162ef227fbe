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
from emergence_assets.checkpoints.files.safetensors_file import refuse
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
            refuse(what, path, FETCH_AGAIN)
        for name, tensor in loaded.items():
            if name in tensors:
                refuse(f"tensor {name} is in two files", path, FETCH_AGAIN)
            # Tensors may share memory in a pickle, but not in safetensors.
            tensors[name] = tensor.detach().clone().contiguous()
    if not tensors:
        refuse("the weights hold no tensors", folder, FETCH_AGAIN)
    temporary = folder / ".model.safetensors.partial"
    try:
        save_file(tensors, temporary, {"format": "pt"})
    except SafetensorError as error:  # also raised for a full disk
        what, remedy = f"The converted weights cannot be written: {error}", "free some space and run again"
        raise EmergenceError(what, where=folder, remedy=remedy) from error
    except (KeyError, ValueError) as error:  # a data type or name that the format does not support
        what = f"the weights cannot be stored as safetensors: {error}"
        raise BrokenCheckpoint(what, where=folder, remedy=FETCH_AGAIN) from error
    publish(temporary, folder / "model.safetensors")
    for path in [*files, folder / INDEX]:
        path.unlink(missing_ok=True)


def _refuse_compressed(path: Path) -> None:
    """Refuse an archive that is larger than its file: torch writes members as they are, and unpacks any."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        refuse(f"the weights cannot be read: {error!s:.200}", path, FETCH_AGAIN)
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED:
            what = f"{member.filename:.100} is compressed; it may unpack to any size"
            refuse(f"the weights cannot be read: {what}", path, FETCH_AGAIN)


def _load(path: Path) -> dict[str, torch.Tensor]:
    _refuse_compressed(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        first_line = (str(error).splitlines() or ["unknown objects"])[0]
        what, remedy = f"the pickle holds other objects than tensors: {first_line}", "do not load it by other means; "
        raise BrokenCheckpoint(what, where=path, remedy=remedy + FETCH_AGAIN) from None
    except Exception as error:  # a damaged pickle can raise any exception
        what = f"the weights cannot be read: {type(error).__name__}: {error}"
        raise BrokenCheckpoint(what, where=path, remedy=FETCH_AGAIN) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in loaded.items()
    ):
        refuse("the weights are not a mapping of names to tensors", path, FETCH_AGAIN)
    for name, tensor in loaded.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            kind = "quantized" if tensor.is_quantized else f"{tensor.layout} on {tensor.device}"
            refuse(f"tensor {name} is {kind}, not dense", path, FETCH_AGAIN)
    return loaded
