"""How fast `emergence audit --verify` reads, against reading the same files one after the other; aim: 0.8 of that."""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.planted_records import Size, plant
from emergence_assets.audit.events import open_event_log
from emergence_assets.audit.verify import verify_study
from emergence_assets.plan.plan import Plan

SIZE = Size(n_models=1, n_steps=4, n_layers=8, activation_bytes=48 << 20, sae_bytes=8 << 20)
"""A gigabyte and a half of activations, a quarter of SAEs: as in a study, where activations are most of the bytes."""
BLOCK_BYTES = 8 << 20
ROUNDS = 5


def measure_audit_verify() -> dict[str, Any]:
    """GB/s of both in turns, from the disk and from memory, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        plan = plant(data, SIZE)
        files = [path for path in plan.storage.root.rglob("*") if path.is_file()]
        figures: dict[str, Any] = {"bytes": sum(path.stat().st_size for path in files)}
        for source, cold in (("disk", True), ("memory", False)):
            rates: dict[str, list[float]] = {"read in order": [], "verify": []}
            for _ in range(ROUNDS):
                for name, job in (("read in order", lambda: _read(files)), ("verify", lambda: _verify(plan, data))):
                    if cold:
                        _forget(files)
                    began = time.perf_counter()
                    n_bytes = job()
                    rates[name].append(n_bytes / (time.perf_counter() - began) / 1e9)
            plain, ours = (statistics.median(values) for values in rates.values())
            figures |= {f"{source}: read in order, GB/s": plain, f"{source}: verify, GB/s": ours}
            figures[f"{source}: ratio"] = ours / plain
        return figures


def _read(files: list[Path]) -> int:
    buffer = memoryview(bytearray(BLOCK_BYTES))
    total = 0
    for path in files:
        with path.open("rb", buffering=0) as file:
            while n_bytes := file.readinto(buffer):
                total += n_bytes
    return total


def _verify(plan: Plan, data: Path) -> int:
    fresh = Plan(plan.study, plan.storage, list(plan.specs.values()))
    with open_event_log(data / "dagster", plan.study.name) as events:
        return verify_study(fresh, events).n_bytes


def _forget(files: list[Path]) -> None:
    """Have the system drop the files from memory."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
