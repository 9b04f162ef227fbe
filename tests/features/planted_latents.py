"""Tables of named latents with known content, some of it hostile."""

from pathlib import Path

import numpy as np
import polars as pl

from emergence_assets.features.examples_table import LATENT_EXAMPLES, NAMED_LATENTS
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.table_inputs import table_path
from resources.files.provenance import Provenance, Required
from resources.files.storage import Storage
from resources.tables.parquet import write_table

N_TEXTS = 4782
PIECES = (
    "<|endoftext|>",
    "\0",
    " \u2028",
    "\x85",
    "</script>",
    "\u202egnp",
    '"\\u0000"',
    "é\u0301",
    "🜨",
    "\n",
    "\uffff",
)
"""A begin token, and pieces that break lines, end strings, or turn the direction of a text."""
VALUES = [None, 0.0, 0.1, 1e-38, 3.4e38, 16777217.0, 1 / 3, 2.5, 0.0, 7.25, 0.5]
"""Activations at these pieces; most are no round numbers in 32 bits."""


def named_latents(latents: dict[int, str], seeds: tuple[int, ...] = (0, 1)) -> pl.DataFrame:
    """Make a row for each latent of each SAE, and one for each of a random encoder."""
    rows = [
        {
            "control_id": control,
            "sae_seed": seed,
            "latent": latent,
            "name": name,
            "best_of": ["subject/dog"],
            "accepted_for": [],
            "density": np.float32(n_active / N_TEXTS),
            "n_active": n_active,
            "largest": np.float32(latent + 0.1),
            "words": ["dog"],
            "words_z": [3.0],
            "raised": [PIECES[1], PIECES[2]] if latent else [],
            "raised_by": [3.3, 1 / 7] if latent else [],
            "lowered": [PIECES[4]] if latent else [],
            "lowered_by": [-0.7] if latent else [],
        }
        for control, of_control in (("none", seeds), ("random_encoder", (0,)))
        for seed in of_control
        for n_active, (latent, name) in enumerate(latents.items())
    ]
    return pl.DataFrame(rows, schema=NAMED_LATENTS.schema)


def latent_examples(named: pl.DataFrame) -> pl.DataFrame:
    """Make two strong texts and one weaker text for each latent that is active, and none for the others."""
    rows = [
        {
            **row,
            "rank": rank,
            "kind": kind,
            "quantile": 1 - rank / 3,
            "text_id": f"t{rank}",
            "activation": 1.0,
            "tokens": list(PIECES[: len(PIECES) - rank]),
            "activations": VALUES[: len(VALUES) - rank],
        }
        for row in named.filter(pl.col("n_active") > 0).select("control_id", "sae_seed", "latent").to_dicts()
        for rank, kind in enumerate(("strongest", "strongest", "quantile"))
    ]
    # In another order than that of the ranks.
    return pl.DataFrame(rows[::-1], schema=LATENT_EXAMPLES.schema)


def plant(data: Path, study: str, cell: Cell, named: pl.DataFrame, examples: pl.DataFrame) -> None:
    """Write the tables of a cell into the data folder of a study."""
    storage = Storage(data, study)
    record = Provenance(Required("latent_examples", str(cell), {}, {}, "planted-1")).to_json()
    for table, frame in ((NAMED_LATENTS, named), (LATENT_EXAMPLES, examples)):
        path = table_path(storage, table, cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, frame, table, record)
