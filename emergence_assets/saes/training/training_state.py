"""A training under way, on disk, so that a killed one goes on where it was and ends with the same bits.

Tensors as safetensors in one file that is replaced whole. What it belongs to is written in it and compared.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import xxhash
from torch import Tensor

from resources.files.atomic import clear_disk_errors, replacing_file

SAVE_EVERY_SECONDS = 60.0
"""Work that a kill may cost; saving takes a second per gigabyte."""


class TrainingState:
    """The file of one training.

    Args:
        path: of the file; need not exist.
        belongs_to: what decides the training, as text; a state of another training is not gone on with.
        every_seconds: how often it is saved.
    """

    def __init__(self, path: Path, belongs_to: str, every_seconds: float = SAVE_EVERY_SECONDS):
        self.path, self.belongs_to, self.every_seconds = path, belongs_to, every_seconds
        self._saved_at = time.monotonic()

    def load(self, into: Mapping[str, Tensor]) -> int:
        """Put a saved state into these tensors, in place; returns the steps that it has done, 0 where there is none.

        A file that is damaged, of another training, or of other shapes is as good as none: nothing is lost but time.
        """
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("belongs_to") != self.belongs_to or set(file.keys()) != set(into):
                    return 0
                saved = {name: file.get_tensor(name) for name in into}
            n_steps = int(header["n_steps"])
        except (OSError, safetensors.SafetensorError, KeyError, ValueError):
            return 0
        if any(saved[name].shape != tensor.shape or saved[name].dtype != tensor.dtype for name, tensor in into.items()):
            return 0
        # Bits that a disk changed are not those that were written.
        if header.get("content") != _content(saved):
            return 0
        for name, tensor in into.items():
            tensor.copy_(saved[name])
        return n_steps

    def save_if_due(self, n_steps: int, tensors: Mapping[str, Tensor]) -> None:
        """Save, if the last time was long enough ago.

        Raises:
            EmergenceError: the disk is full.
        """
        if time.monotonic() - self._saved_at < self.every_seconds:
            return
        on_host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        header = {"belongs_to": self.belongs_to, "n_steps": str(n_steps), "content": _content(on_host)}
        with clear_disk_errors(self.path), replacing_file(self.path) as temporary:
            safetensors.torch.save_file(on_host, temporary, header)
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        """The training is over and its result is safe elsewhere."""
        self.path.unlink(missing_ok=True)


def _content(tensors: Mapping[str, Tensor]) -> str:
    digest = xxhash.xxh3_128()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
