"""Whether a device is here, before anything is measured on it."""

import torch

from resources.errors import EmergenceError


def check_device(device: str) -> None:
    """Raise EmergenceError where torch has no such device."""
    if device == "cpu":
        return
    if not device.startswith("cuda") or not torch.cuda.is_available():
        raise EmergenceError(
            f"There is no device {device} here.",
            where="--device",
            remedy="leave it out to measure on the CPU; on a machine with a GPU torch has to be a CUDA build",
        )
