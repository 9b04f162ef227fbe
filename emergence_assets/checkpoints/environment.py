"""What in this process decides the bits of a result. Recorded beside weights: they repeat within one environment only.

Measured: the same training is bit-identical on one machine with one thread, and differs with the thread count, the
instruction set that torch picks and MKL's reproducibility mode.
"""

import os
import platform
from pathlib import Path


def environment() -> dict[str, str | int]:
    """Versions, processor and settings of this process; plain values that go into JSON. Imports torch.

    Keys: torch, transformers, python (versions), cpu_capability (the instruction set that torch dispatches to),
    cpu_model (MKL picks its kernels by the model), mkl_cbwr (its reproducibility mode), num_threads, platform, device
    (name of the accelerator or "cpu").
    """
    import torch
    import transformers

    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_model": _cpu_model(),
        "mkl_cbwr": os.environ.get("MKL_CBWR", ""),
        "num_threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
