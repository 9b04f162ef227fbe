"""Check that a device or the environment of other libraries exists before anything is measured."""

from pathlib import Path

import torch

from resources.errors import EmergenceError


def check_device(device: str) -> None:
    """Refuse a device that torch does not have.

    Raises:
        EmergenceError: there is no such device.
    """
    if device == "cpu":
        return
    if not device.startswith("cuda") or not torch.cuda.is_available():
        raise EmergenceError(
            f"There is no device {device} here.",
            where="--device",
            remedy="leave it out to measure on the CPU; on a machine with a GPU torch has to be a CUDA build",
        )


def peers_python(peers: Path) -> str:
    """Return the path of the Python of the other libraries' environment.

    Raises:
        EmergenceError: the environment was not made.
    """
    python = peers / "bin/python"
    if not python.exists():
        raise EmergenceError(
            "The environment of the other libraries is missing.", where=peers, remedy="make it with `make peers`"
        )
    return str(python)
