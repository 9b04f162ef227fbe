"""Which device computes, in which data type and batch. Imports torch only when asked."""

import os
from dataclasses import dataclass

from emergence_assets.errors import EmergenceError


@dataclass(frozen=True)
class Accelerator:
    """A device and how to use it."""

    device: str
    """`cpu` or `cuda:N`."""
    model_dtype: str
    """Data type of forward passes; float32 on every device, so that a CPU and a GPU give comparable activations."""
    capture_batch: int
    """Texts per forward pass."""
    name: str
    """What the maker calls it, for the record."""


def choose_accelerator(wanted: str | None = None) -> Accelerator:
    """Resolve `auto`, `cpu`, `cuda` or `cuda:N`; by default EMERGENCE_DEVICE, else `auto`.

    Workers of one machine are spread over its GPUs by their process number.

    Raises:
        EmergenceError: no such device on this machine.
    """
    import torch

    wanted = wanted or os.environ.get("EMERGENCE_DEVICE") or "auto"
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted in ("auto", "cuda"):
        if n_gpus:
            wanted = f"cuda:{os.getpid() % n_gpus}"
        elif wanted == "auto":
            wanted = "cpu"
    if wanted == "cpu":
        return Accelerator("cpu", "float32", 64, f"CPU {torch.backends.cpu.get_cpu_capability()}")
    kind, _, index = wanted.partition(":")
    if kind != "cuda" or not index.isdecimal() or int(index) >= n_gpus:
        raise EmergenceError(
            f"There is no device {wanted!r} here; this machine has {n_gpus} GPUs.",
            remedy="set EMERGENCE_DEVICE to auto, cpu or cuda:N",
        )
    return Accelerator(wanted, "float32", 256, torch.cuda.get_device_name(int(index)))
