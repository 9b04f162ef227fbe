"""Claims about latents: the share of reproducible latents that last from one checkpoint to the next."""

import polars as pl

from emergence_assets.emergence.claims.claim import Claim, above
from emergence_assets.emergence.claims.grading import ONE_RUN, Control

LASTING = 0.5
"""Of the latents that two SAE seeds share, most have to be found again."""


def claims_of_lineage(stability: pl.DataFrame) -> list[Claim]:
    """One statement per model: the share of latents that last over its last two checkpoints, of what seeds share.

    Args:
        stability: `lineage_stability`; only pairs of different SAE seeds are read: those of one seed begin with the
            same directions, so that a match may be inertia.
    """
    rows = stability.filter(
        pl.col("axis") == "step",
        pl.col("pairing") == "other_seed",
        pl.col("population") == "firing",
        pl.col("layer").is_null(),
    )
    last = rows.filter(pl.col("step_to") == pl.col("step_to").max().over("model"))
    return [
        Claim(
            kind="stability",
            statement=f"Latents of {row['model']} last from step {row['step_from']:,} to {row['step_to']:,}: of those "
            "that two SAE seeds share, most are found again.",
            estimate=row["s_norm"],
            interval=(row["s_norm_lo"], row["s_norm_hi"]),
            unit="share of the seed ceiling",
            q=None,
            passes_gate=above(row["s_norm_lo"], LASTING),
            controls=(
                Control("seed_ceiling", None if row["s_norm"] is None else True),
                Control("untrained_dictionary", above(row["s_raw_lo"])),
                ONE_RUN,
            ),
            inputs=(f"lineage_stability {row['model']}",),
            figure="lineage_stability",
            model=row["model"],
            step=row["step_to"],
        )
        for row in last.iter_rows(named=True)
    ]
