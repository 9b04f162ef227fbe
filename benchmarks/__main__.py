"""Run the benchmarks, print a table, write benchmarks/results/<date>.json."""

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.definitions_load import measure_definitions_load
from benchmarks.sae_step import measure_sae_step
from benchmarks.study_run import measure_study_run

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure what was asked for, by default everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--study", default="quick", help="study of the end-to-end run (default: quick)")
    parser.add_argument("--only", choices=["load", "sae", "study"], help="one benchmark instead of all")
    arguments = parser.parse_args()
    measurements = {}
    if arguments.only in (None, "load"):
        measurements["definitions load"] = measure_definitions_load()
    if arguments.only in (None, "sae"):
        measurements["SAE step"] = measure_sae_step()
    if arguments.only in (None, "study"):
        measurements[f"study {arguments.study}"] = measure_study_run(arguments.study)
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
