"""Choice of the compute device, its data type and its batch size. Only `choose_accelerator` imports torch."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from resources.environment import computes_on
from resources.errors import EmergenceError

SPREAD = "spread"
"""Value of EMERGENCE_DEVICE for models that no single device holds."""


@dataclass(frozen=True)
class Accelerator:
    """A compute device with its batch size."""

    device: str
    """`cpu` or `cuda:N`."""
    capture_batch: int
    """Texts per forward pass."""
    name: str
    """Name of the device by its maker, or `cpu`; part of records."""

    def model_dtype(self, wanted: str) -> str:
        """Return the wanted data type of forward passes, if this device computes in it; all devices compute in float32.

        Raises:
            EmergenceError: the device would emulate the data type, tens of times slower than float32.
        """
        flags = {"bfloat16": {"avx512_bf16", "amx_bf16", "bf16"}, "float16": {"avx512_fp16", "amx_fp16", "fphp"}}
        if self.device == "cpu" and wanted in flags and not flags[wanted] & _cpu_flags():
            raise EmergenceError(
                f"This processor does not compute in {wanted}.",
                remedy="set activations.compute_dtype to float32, or run on a GPU",
            )
        return wanted


@functools.cache
def _cpu_flags() -> frozenset[str]:
    """Return the CPU flags of /proc/cpuinfo; empty on systems other than Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    known = [line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))]
    return frozenset(known[0]) if known else frozenset()


def is_spread() -> bool:
    """Return whether EMERGENCE_DEVICE is `spread`: a model may take all GPUs, then host memory, then the disk."""
    return os.environ.get("EMERGENCE_DEVICE") == SPREAD


def choose_accelerator(wanted: str | None = None) -> Accelerator:
    """Resolve `auto`, `cpu`, `cuda`, `cuda:N` or `spread`; by default EMERGENCE_DEVICE, else `auto`.

    With `spread` the result is the device of a model's inputs; `models/placement.py` places its blocks.

    A worker sees one GPU (see `gpus.py`), and takes it. Records written after this call name the device.

    Raises:
        EmergenceError: the device does not exist on this machine.
    """
    import torch

    wanted = wanted or os.environ.get("EMERGENCE_DEVICE") or "auto"
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == SPREAD:
        wanted = "cuda:0" if n_gpus else "cpu"
    if wanted in ("auto", "cuda"):
        if n_gpus:
            wanted = "cuda:0"
        elif wanted == "auto":
            wanted = "cpu"
    if wanted == "cpu":
        return _chosen(Accelerator("cpu", 64, "cpu"))
    kind, _, index = wanted.partition(":")
    if kind != "cuda" or not index.isdecimal() or int(index) >= n_gpus:
        raise EmergenceError(
            f"There is no device {wanted!r} here; this machine has {n_gpus} GPUs.",
            remedy="set EMERGENCE_DEVICE to auto, cpu, cuda:N or spread",
        )
    return _chosen(Accelerator(wanted, 256, torch.cuda.get_device_name(int(index))))


def _chosen(accelerator: Accelerator) -> Accelerator:
    computes_on(accelerator.name)
    return accelerator
