"""State of a running training on disk, so that a killed training resumes and ends with the same bits. Imports torch.

The state is one safetensors file, replaced atomically. Its header has the identity of the training and a hash of the
tensors. The training of models and the training of SAEs both use it.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import xxhash
from torch import Tensor

from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors, replacing_file

SAVE_EVERY_SECONDS = 60.0
"""Seconds of work that a kill may cost; saving takes 1 s per gigabyte."""


class TrainingState:
    """State file of one training.

    Args:
        path: path of the file; need not exist.
        belongs_to: identity of the training, such as its fingerprint; states of other trainings are ignored.
        every_seconds: least time between two saves of `save_if_due`, in seconds.
    """

    def __init__(self, path: Path, belongs_to: str, every_seconds: float = SAVE_EVERY_SECONDS):
        self.path, self.belongs_to, self.every_seconds = path, belongs_to, every_seconds
        self._saved_at = time.monotonic()

    def load(self, into: Mapping[str, Tensor]) -> int:
        """Copy a saved state into these tensors.

        Returns:
            Number of finished steps; 0 without a state of this training.

        Raises:
            EmergenceError: the file is damaged, or holds other tensors; the tensors are not changed.
        """
        if not self.path.exists():
            return 0
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("belongs_to") != self.belongs_to:
                    return 0
                saved = {name: file.get_tensor(name) for name in into}
            n_steps = int(header["n_steps"])
            if any((saved[name].shape, saved[name].dtype) != (one.shape, one.dtype) for name, one in into.items()):
                raise ValueError("a tensor has another shape or type")
            if header["content"] != _content(saved):
                raise ValueError("the tensors were altered")
        except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
            remedy = f"delete {self.path.name}; training starts again at step 0"
            raise EmergenceError("cannot read the state to resume from", where=self.path, remedy=remedy) from error
        for name, tensor in into.items():
            tensor.copy_(saved[name])
        return n_steps

    def save_if_due(self, n_steps: int, tensors: Mapping[str, Tensor]) -> None:
        """Save, if the last save was at least `every_seconds` ago; see `save`."""
        if time.monotonic() - self._saved_at >= self.every_seconds:
            self.save(n_steps, tensors)
            self._saved_at = time.monotonic()

    def save(self, n_steps: int, tensors: Mapping[str, Tensor]) -> None:
        """Save the tensors after a number of finished steps; they replace the last state.

        Raises:
            EmergenceError: the disk is full.
        """
        on_host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        header = {"belongs_to": self.belongs_to, "n_steps": str(n_steps), "content": _content(on_host)}
        with clear_disk_errors(self.path), replacing_file(self.path) as temporary:
            safetensors.torch.save_file(on_host, temporary, header)

    def remove(self) -> None:
        """Delete the file, after the result of the training is stored."""
        self.path.unlink(missing_ok=True)


def _content(tensors: Mapping[str, Tensor]) -> str:
    digest = xxhash.xxh3_128()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
