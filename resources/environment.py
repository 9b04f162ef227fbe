"""What makes a result, for the record inside it: run, commit and study; libraries, processor, threads and device.

None of it is part of a fingerprint. Measured: the same training is bit-identical on one machine with one thread, and
differs with the thread count, the instruction set that torch picks and MKL's reproducibility mode.
"""

import functools
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

LIBRARIES = ("torch", "transformers", "numpy", "scipy", "scikit-learn", "polars", "h5py")
"""Those whose version may change a number."""
_task: ContextVar[Mapping[str, Any]] = ContextVar("task", default=MappingProxyType({}))


@contextmanager
def made_for(run_metadata: Mapping[str, Any]) -> Iterator[None]:
    """Put the metadata of a run into the records that are written in the block.

    Args:
        run_metadata: plain values; see `emergence_assets.plan.run_metadata`.
    """
    before = _task.set({**run_metadata, "device": "cpu"})
    try:
        yield
    finally:
        _task.reset(before)


def computes_on(device: str) -> None:
    """Note what the work at hand computes on; until somebody says otherwise it is the processor."""
    _task.set({**_task.get(), "device": device})


def environment() -> dict[str, Any]:
    """What makes a result in this process now: `machine`, the device, and what `made_for` was told. For JSON."""
    return {"device": "cpu", **machine(), **_task.get()}


def machine() -> dict[str, Any]:
    """What decides the bits of a result. Imports nothing heavy.

    Keys: python and `LIBRARIES` (versions); cpu_model (MKL picks its kernels by it), cpu_capability (instruction set
    that torch dispatches to, where torch is loaded), mkl_cbwr (MKL's reproducibility mode), num_threads, platform.
    """
    return {**_installed(), **_threads()}


@functools.cache
def _installed() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        **{name: found for name in LIBRARIES if (found := _version(name))},
        "cpu_model": _cpu_model(),
        "platform": platform.platform(),
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def _threads() -> dict[str, Any]:
    facts: dict[str, Any] = {"mkl_cbwr": os.environ.get("MKL_CBWR", "")}
    if torch := sys.modules.get("torch"):
        return facts | {
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "num_threads": torch.get_num_threads(),
        }
    # As torch would count them, which need not be loaded to say so.
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return facts | {"num_threads": int(wanted) if wanted.isdecimal() else os.cpu_count() or 1}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
