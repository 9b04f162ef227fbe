"""Claims about latents: the share of reproducible latents that last from one checkpoint to the next."""

import polars as pl

from emergence_assets.emergence.claims.claim import Claim, above
from emergence_assets.emergence.claims.grading import ONE_RUN, Control
from emergence_assets.emergence.lineage.matching_nulls import QUANTILE

LASTING = 0.5
"""Share of the seed ceiling that the lower bound must exceed: most latents shared by two SAE seeds are found again."""
_IN_UNTRAINED = 1 - QUANTILE
"""Share of latents that find a match in an untrained dictionary, by the threshold of an accepted match."""


def claims_of_lineage(stability: pl.DataFrame) -> list[Claim]:
    """State per model that most reproducible latents last over its last two checkpoints.

    Args:
        stability: `lineage_stability`. Only pairs of different SAE seeds are read: SAEs of one seed start from the same
            directions, so that their matches may only reflect the common start.
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
            statement=f"In {row['model']}, most latents that two SAE seeds share are found again from step "
            f"{row['step_from']:,} to step {row['step_to']:,}.",
            estimate=row["s_norm"],
            interval=(row["s_norm_lo"], row["s_norm_hi"]),
            unit="share of the seed ceiling",
            q=None,
            passes_gate=above(row["s_norm_lo"], LASTING),
            controls=(
                Control("seed_ceiling", None if row["s_ceiling"] is None else row["s_norm"] is not None),
                Control("untrained_dictionary", above(row["s_raw_lo"], _IN_UNTRAINED)),
                ONE_RUN,
            ),
            inputs=(f"lineage_stability {row['model']}",),
            figure="lineage_stability",
            model=row["model"],
            step=row["step_to"],
        )
        for row in last.iter_rows(named=True)
    ]
