"""Environment of a result for its record: run, commit and study; libraries, processor, threads and device.

No part of it enters a fingerprint. Measured: equal trainings are bit-identical on one machine with one thread, and
differ with the number of threads, the instruction set that torch selects and the reproducibility mode of MKL.
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
"""Libraries whose version may change a number."""
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


@contextmanager
def environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables in the block, for code that reads them itself and for processes that it starts."""
    before = {name: os.environ[name] for name in values if name in os.environ}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ.update(before)


def computes_on(device: str) -> None:
    """Set the device for the records of the current task; the default is `cpu`."""
    _task.set({**_task.get(), "device": device})


def environment() -> dict[str, Any]:
    """Return the environment of a result of this process as plain values: `machine`, device and run metadata."""
    return {"device": "cpu", **machine(), **_task.get()}


def machine() -> dict[str, Any]:
    """Return the fields of the environment that decide the bits of a result. Imports no heavy library.

    Keys: python and `LIBRARIES` (versions); cpu_model (MKL selects its kernels by it), cpu_capability (instruction set
    that torch uses, where torch is loaded), mkl_cbwr (reproducibility mode of MKL), num_threads, platform.
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
    # The number that torch would use, without loading torch.
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return facts | {"num_threads": int(wanted) if wanted.isdecimal() else os.cpu_count() or 1}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
