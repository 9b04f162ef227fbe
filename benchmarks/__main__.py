"""Run the benchmarks, print a table, write benchmarks/results/<date>.json."""

import argparse
import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.automation_tick import measure_automation_tick
from benchmarks.definitions_load import measure_definitions_load
from benchmarks.hub_listing import measure_hub_listing
from benchmarks.identity_cost import measure_identity_cost
from benchmarks.identity_rules import measure_identity_rules
from benchmarks.sae_step import measure_sae_step
from benchmarks.study_run import measure_study_run

RESULTS = Path(__file__).parent / "results"
BENCHMARKS: dict[str, Callable[[str], dict[str, Any]]] = {
    "load": lambda _study: measure_definitions_load(),
    "sae": lambda _study: measure_sae_step(),
    "hub": lambda _study: measure_hub_listing(),
    "identity-cost": lambda _study: measure_identity_cost(),
    "identity-rules": lambda _study: measure_identity_rules(),
    "automation": lambda _study: measure_automation_tick(),
    "study": measure_study_run,
}
"""Name to what measures it, given the study of the end-to-end run."""


def main() -> None:
    """Measure what was asked for, by default everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--study", default="quick", help="study of the end-to-end run (default: quick)")
    parser.add_argument("--only", choices=list(BENCHMARKS), help="one benchmark instead of all")
    arguments = parser.parse_args()
    chosen = [arguments.only] if arguments.only else list(BENCHMARKS)
    measurements = {name: BENCHMARKS[name](arguments.study) for name in chosen}
    table = Table("benchmark", "figure", "value")
    for name, figures in measurements.items():
        for figure, value in figures.items():
            table.add_row(name, figure, f"{value:.3g}" if isinstance(value, float) else str(value))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    record = {
        "date": now.isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.processor() or platform.machine(),
        "measurements": measurements,
    }
    path = RESULTS / f"{now:%Y-%m-%dT%H%M%S}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")


main()
