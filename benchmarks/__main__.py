"""Run the benchmarks, print a table, write benchmarks/results/<date>.json."""

import argparse
import json
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.activation_batches import measure_activation_batches
from benchmarks.activation_peers import measure_activation_peers
from benchmarks.activation_read import measure_activation_read
from benchmarks.automation_tick import measure_automation_tick
from benchmarks.calibration import N_DRAWS, measure_calibration
from benchmarks.cell_statistics import measure_cell_statistics
from benchmarks.compute_overhead import measure_compute_overhead
from benchmarks.explorer_views import measure_explorer_views
from benchmarks.fetch_ahead import measure_fetch_ahead
from benchmarks.identity_rules import measure_identity_rules
from benchmarks.language_model_peers import MODEL, measure_language_model_peers
from benchmarks.latent_matching import measure_latent_matching
from benchmarks.null_claims import N_FAMILIES, measure_null_claims
from benchmarks.reactivation_rules import measure_reactivation_rules
from benchmarks.read_outs import measure_pretrained_read_outs, measure_read_outs
from benchmarks.rounds import measure_in_worker
from benchmarks.sae_peers import measure_sae_peers
from benchmarks.sae_stack import measure_sae_stack
from benchmarks.sae_stream import measure_sae_stream
from benchmarks.scale_rules import measure_scale_rules
from benchmarks.seed_coverage import measure_seed_coverage
from benchmarks.stop_signal import measure_stop_signal
from benchmarks.study_run import measure_study_run
from benchmarks.time_rules import measure_time_rules
from resources.compute.accelerator import choose_accelerator
from resources.compute.machine import n_cores
from resources.errors import EmergenceError

RESULTS = Path(__file__).parent / "results"
BENCHMARKS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "identity-rules": lambda _: measure_identity_rules(),
    "latent-matching": lambda _: measure_latent_matching(),
    "read-outs": lambda _: measure_read_outs(RESULTS / "read-outs"),
    "pretrained-read-outs": lambda arguments: measure_pretrained_read_outs(arguments.pretrained, arguments.layers),
    "seed-coverage": lambda _: measure_seed_coverage(),
    "scale-rules": lambda _: measure_scale_rules(),
    "stop-signal": lambda _: measure_stop_signal(),
    "reactivation-rules": lambda _: measure_reactivation_rules(),
    "automation": lambda _: measure_automation_tick(),
    "activation-write": lambda _: measure_in_worker("benchmarks.activation_write:measure_activation_write"),
    "activation-read": lambda _: measure_activation_read(),
    "activation-batches": lambda _: measure_activation_batches(),
    "activation-capture": lambda _: measure_in_worker("benchmarks.activation_capture:measure_activation_capture"),
    "activation-peers": lambda arguments: measure_activation_peers(arguments.peers),
    "compute-overhead": lambda _: measure_compute_overhead(),
    "explorer-views": lambda _: measure_explorer_views(),
    "fetch-ahead": lambda _: measure_fetch_ahead(),
    "sae-stack": lambda arguments: measure_sae_stack(arguments.device),
    "sae-stream": lambda _: measure_sae_stream(),
    "sae-peers": lambda arguments: measure_sae_peers(arguments.peers, arguments.device),
    "language-model-peers": lambda arguments: measure_language_model_peers(arguments.peers),
    "time-rules": lambda _: measure_time_rules(),
    "cell-statistics": lambda _: measure_cell_statistics(),
    "calibration": lambda arguments: measure_calibration(RESULTS, arguments.draws),
    "null-claims": lambda arguments: measure_null_claims(arguments.families),
    "study": lambda arguments: measure_study_run(arguments.study),
}
"""Name → measurement, called with the arguments of the command line."""
NEEDS_PEERS = {"activation-peers", "language-model-peers", "sae-peers"}
BY_NAME_ONLY = {"calibration", "null-claims", "pretrained-read-outs", "read-outs"}
"""Benchmarks too long for a run of all."""
ON_DEVICES = {"sae-stack", "sae-peers"}
"""Benchmarks that accept --device; the others measure the CPU."""


def main() -> None:
    """Run the named benchmarks, by default all but those of `BY_NAME_ONLY`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--study", default="quick", help="study of the end-to-end run (default: quick)")
    parser.add_argument("--only", choices=list(BENCHMARKS), nargs="+", help="some benchmarks instead of all")
    parser.add_argument("--peers", type=Path, default=Path(".peers"), help="environment that `make peers` makes")
    parser.add_argument("--draws", type=int, default=N_DRAWS, help=f"draws of the calibration (default: {N_DRAWS})")
    families = f"families of each kind for null-claims (default: {N_FAMILIES})"
    parser.add_argument("--families", type=int, default=N_FAMILIES, help=families)
    parser.add_argument("--pretrained", type=Path, help="folder of the model for pretrained-read-outs")
    parser.add_argument("--layers", type=int, nargs="+", help="layers that pretrained-read-outs reads")
    parser.add_argument("--device", default="cpu", help=f"cpu or cuda; for {' and '.join(sorted(ON_DEVICES))}")
    arguments = parser.parse_args()
    if arguments.device != "cpu" and not set(arguments.only or BENCHMARKS) <= ON_DEVICES:
        parser.error(f"--device is for --only {' '.join(sorted(ON_DEVICES))}")
    if "pretrained-read-outs" in (arguments.only or ()) and not (arguments.pretrained and arguments.layers):
        parser.error("pretrained-read-outs needs --layers, and --pretrained with config.json, weights, tokenizer.json")
    unasked = BY_NAME_ONLY | (set() if arguments.peers.exists() else NEEDS_PEERS)
    unasked |= set() if MODEL.exists() else {"language-model-peers"}
    chosen = arguments.only or [name for name in BENCHMARKS if name not in unasked]
    try:
        measurements = {name: BENCHMARKS[name](arguments) for name in chosen}
    except EmergenceError as error:
        sys.exit(str(error))
    _print_tables(measurements)
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    record = {
        "date": now.isoformat(timespec="seconds"),
        "cores": n_cores(),
        "processor": platform.processor() or platform.machine(),
        "device": choose_accelerator(arguments.device).name,
        "measurements": measurements,
    }
    path = RESULTS / f"{now:%Y-%m-%dT%H%M%S}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")


def _print_tables(measurements: dict[str, dict[str, Any]]) -> None:
    """Print single figures in one table, and rows with columns in a table per benchmark."""
    console = Console(width=200)
    single = Table("benchmark", "figure", "value")
    for name, figures in measurements.items():
        rows = {row: columns for row, columns in figures.items() if isinstance(columns, dict)}
        for figure, value in figures.items():
            if figure not in rows:
                single.add_row(name, figure, _shown(value))
        if rows:
            columns = list(dict.fromkeys(column for row in rows.values() for column in row))
            table = Table(name, *columns)
            for row, values in rows.items():
                table.add_row(row, *(_shown(values.get(column, "")) for column in columns))
            console.print(table)
    if single.row_count:
        console.print(single)


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


main()
