"""GPUs that this process may use, and their assignment to workers: each sees one GPU, chosen before torch is imported.

A GPU chosen by process id would leave others idle: of eight processes two or three usually share a remainder.
"""

import fcntl
import functools
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from resources.errors import EmergenceError

DEVICES = Path("/dev")
CUDA, HIP = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"
"""Variables that limit the GPUs of a process: of NVIDIA's driver, and of ROCm."""
_held: list[IO[str]] = []
"""The lock of this worker's GPU, open as long as the process lives."""


@dataclass(frozen=True)
class Gpus:
    """GPUs that the scheduler, the user and the machine grant to this process."""

    variable: str
    """Environment variable that selects among them."""
    names: tuple[str, ...]
    """Value of the variable that selects each GPU: an index, or an identifier such as `MIG-…`."""

    def __len__(self) -> int:
        return len(self.names)


def granted_gpus() -> Gpus:
    """Return the GPUs that this process may use, without an import of torch where that is possible.

    EMERGENCE_DEVICE is `cpu` for none and `cuda:N` for one. NVIDIA's device files are counted; a scheduler's
    CUDA_VISIBLE_DEVICES selects among them. WSL and ROCm have no such files: there torch counts, in another process.

    Raises:
        EmergenceError: EMERGENCE_DEVICE names a GPU that does not exist.
    """
    wanted = os.environ.get("EMERGENCE_DEVICE", "")
    if wanted == "cpu":
        return Gpus(CUDA, ())
    found = _found()
    if match := re.fullmatch(r"cuda:(\d+)", wanted):
        if int(match[1]) >= len(found):
            raise EmergenceError(
                f"There is no device {wanted!r} here; this process may use {len(found)} GPUs.",
                remedy="set EMERGENCE_DEVICE to auto, cpu, cuda:N or spread",
            )
        return Gpus(found.variable, (found.names[int(match[1])],))
    return found


def _found() -> Gpus:
    n_files = len([path for path in DEVICES.glob("nvidia*") if path.name.removeprefix("nvidia").isdecimal()])
    if n_files:
        return Gpus(CUDA, _selected(os.environ.get(CUDA), n_files))
    if not ((DEVICES / "dxg").exists() or (DEVICES / "kfd").exists()):
        return Gpus(CUDA, ())
    variable = HIP if (DEVICES / "kfd").exists() else CUDA
    stated = os.environ.get(variable)
    n_seen = _counted_by_torch(tuple(os.environ.get(name) for name in (CUDA, HIP, "ROCR_VISIBLE_DEVICES")))
    return Gpus(variable, _selected(stated, None)[:n_seen] if stated else tuple(map(str, range(n_seen))))


def _selected(stated: str | None, n_devices: int | None) -> tuple[str, ...]:
    """Return the entries of a variable as the driver reads them: up to the first that names no device, or repeats one.

    Args:
        stated: value of the variable; None if it is not set.
        n_devices: number of devices, if it is known.
    """
    if stated is None:
        return tuple(map(str, range(n_devices or 0)))
    names: list[str] = []
    for entry in (part.strip() for part in stated.split(",")):
        is_index = entry.lstrip("-").isdecimal()
        unknown = is_index and (int(entry) < 0 or (n_devices is not None and int(entry) >= n_devices))
        is_named = entry.startswith(("GPU-", "MIG-"))
        if unknown or not (is_index or is_named) or entry in names:
            break
        names.append(entry)
    return tuple(names)


@functools.cache
def _counted_by_torch(_environment: tuple[str | None, ...]) -> int:
    """Count GPUs with torch, which a planning process does not import; once per environment."""
    program = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    counted = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    last = counted.stdout.split()[-1:]
    return int(last[0]) if counted.returncode == 0 and last and last[0].isdecimal() else 0


def hold_gpu(folder: Path, gpus: Gpus, n_workers: int) -> None:
    """Take a free GPU for this process, and hide the others from it.

    The lock ends with the process, however it ends. With more workers than GPUs, each GPU serves several.

    Args:
        folder: folder of the locks, one per worker, shared by the workers alone.
        gpus: GPUs of all workers.
        n_workers: number of workers.

    Raises:
        RuntimeError: more processes than `n_workers` ask.
    """
    for slot in range(n_workers):
        lock = (folder / str(slot)).open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _held.append(lock)
        os.environ[gpus.variable] = gpus.names[slot % len(gpus)]
        if os.environ.get("EMERGENCE_DEVICE", "").startswith("cuda:"):
            os.environ["EMERGENCE_DEVICE"] = "cuda"  # the only one that this process sees
        return
    raise RuntimeError(f"all {n_workers} workers have a GPU already")
