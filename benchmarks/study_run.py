"""Run a whole study into an empty folder, and again with nothing to do."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MODEL_WORK = ("training_run", "activations", "sae")


def measure_study_run(study: str) -> dict[str, float]:
    """Measure seconds of a first and a second run, and the share of the first outside model work."""
    with tempfile.TemporaryDirectory() as data:
        first, seconds = run_study(study, data)
        _, again = run_study(study, data)
        n_bytes = sum(path.stat().st_size for path in Path(data).rglob("*") if path.is_file())
    by_asset = first["seconds"]
    outside = seconds - first["working_seconds"]
    return {
        "first run, s": seconds,
        "second run, s": again,
        "workers at work, s": first["working_seconds"],
        "orchestration, share (aim: below 0.15)": outside / seconds,
        "outside training, forward passes and SAE steps, share": 1
        - sum(by_asset[name] for name in MODEL_WORK) / seconds,
        "data, MB": n_bytes / 1e6,
        **{f"{name}, s": taken for name, taken in by_asset.items()},
    }


def run_study(study: str, data: str) -> tuple[dict[str, Any], float]:
    """Run a study; return what `emergence run --json` prints, and seconds."""
    command = [sys.executable, "-m", "emergence_assets.cli.main", "--study", study, "--data", data, "run", "--json"]
    began = time.perf_counter()
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(finished.stdout), time.perf_counter() - began
