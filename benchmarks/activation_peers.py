"""Write rows and read one shuffled epoch of batches, compared with other libraries: CPU seconds and bytes on disk.

`peers_store.py` runs each other library in a process of the environment that `make peers` makes.
"""

import itertools
import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.activation_files import stored_rows, write_file
from benchmarks.peers_store import BATCH_SIZE, D_MODEL, measure
from benchmarks.prerequisites import peers_python
from benchmarks.rounds import Table
from emergence_assets.activations.files.batches import ShuffledRows
from emergence_assets.activations.files.reading import open_rows

N_BYTES = 256 << 20
OURS = "ours"
SYSTEMS = {
    "safetensors": "safetensors, whole tensor in memory",
    "sae_lens": "SAELens, its own runner and store",
}
"""Name in `peers_*.py` → row of the table."""


def measure_activation_peers(peers: Path) -> Table:
    """Measure rates, bytes on disk, and rates relative to ours.

    Args:
        peers: environment of the other libraries.

    Raises:
        EmergenceError: the environment does not exist.
    """
    python = peers_python(peers)
    torch.set_num_threads(1)
    rows_td = stored_rows(N_BYTES, D_MODEL, "float16")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "rows.npy", rows_td)
        ours, costs = [], {}
        for system, title in SYSTEMS.items():
            ours.append(measure(_write, _batches, rows_td, folder / OURS))
            script = Path(__file__).with_name("peers_store.py")
            command = [python, str(script), system, str(folder / "rows.npy"), str(folder / system)]
            finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            costs[title] = json.loads(finished.stdout.splitlines()[-1])
    # Ours alternates with the others, because the load of the machine changes.
    costs = {OURS: {name: statistics.median(found[name] for found in ours) for name in ours[0]}, **costs}
    rates = {title: _rates(found, rows_td) for title, found in costs.items()}
    return {
        title: {
            "write, GB/CPU-s": write,
            "shuffled epoch, GB/CPU-s": read,
            "bytes on disk": f"{costs[title]['bytes on disk']:,.0f}",
            "write, of ours": write / rates[OURS][0],
            "epoch, of ours": read / rates[OURS][1],
        }
        for title, (write, read) in rates.items()
    }


def _rates(costs: dict[str, float], rows_td: np.ndarray) -> tuple[float, float]:
    """Compute gigabytes of the given rows per CPU second; a library may store them in another size."""
    read_bytes = costs["rows read"] * rows_td[0].nbytes
    return rows_td.nbytes / costs["write, CPU s"] / 1e9, read_bytes / costs["read, CPU s"] / 1e9


def _write(rows_td: np.ndarray, folder: Path) -> None:
    write_file(folder / "layer.h5", rows_td, "float16")


def _batches(folder: Path, order: np.ndarray) -> Iterator[object]:
    shuffled = ShuffledRows(open_rows(folder / "layer.h5", "resid_post"), BATCH_SIZE, 0, regime="memory")
    return itertools.islice(shuffled.batches(), len(order) // BATCH_SIZE)
