"""Environment variables of worker processes, wherever they run."""

import os

WORKER_ENVIRONMENT = {
    # One thread each: more threads oversubscribe the cores, and results are bit-identical only per thread count.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Keep freed memory: otherwise glibc maps and unmaps every temporary tensor.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    "MALLOC_TOP_PAD_": str(1 << 28),
}
PORTABLE_VARIABLE = "EMERGENCE_PORTABLE"
PORTABLE = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
"""What all x86 processors of the last ten years have. That results then agree between makers is not measured."""


def worker_environment() -> dict[str, str]:
    """Return the variables that decide speed and bits; with EMERGENCE_PORTABLE=1, those of a common instruction set."""
    return WORKER_ENVIRONMENT | (PORTABLE if os.environ.get(PORTABLE_VARIABLE) == "1" else {})
