"""How long definitions take to load, against `import dagster` alone."""

import statistics
import subprocess
import sys
import time

ROUNDS = 5


def measure_definitions_load() -> dict[str, float]:
    """Alternate both in fresh processes and compare medians."""
    seconds: dict[str, list[float]] = {"import dagster": [], "import emergence_assets.definitions": []}
    for statement in seconds:
        _run(statement)  # warm the file cache
    for _ in range(ROUNDS):
        for statement, taken in seconds.items():
            taken.append(_run(statement))
    dagster, ours = (statistics.median(taken) for taken in seconds.values())
    return {"import dagster, s": dagster, "load definitions, s": ours, "ratio (aim: 1.5 at most)": ours / dagster}


def _run(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)
    return time.perf_counter() - began
