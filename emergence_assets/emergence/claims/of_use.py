"""Claims about use: the model predicts texts of a category worse without the best latent of the category."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from emergence_assets.emergence.claims.claim import Claim, above, below, seeds_agree, with_article
from emergence_assets.emergence.claims.grading import ONE_RUN, SUPPORTED, Control, grade

_Subject = tuple[str | None, str | None, str | None]


def claims_of_use(use: pl.DataFrame, emergences: Sequence[Claim], broken_checkpoints: Mapping[str, int]) -> list[Claim]:
    """Make one claim per category that rises, and one about the mean over these categories of a level.

    Args:
        use: `feature_use`.
        emergences: claims of emergence with all of their controls: use of a latent is stated only where emergence is.
        broken_checkpoints: number of checkpoints per model with a status other than `ok`.
    """
    granted = {
        _subject(claim): grade(claim.passes_gate, claim.controls) in SUPPORTED
        for claim in emergences
        if claim.kind == "emergence"
    }
    return [_claim(row, granted, broken_checkpoints) for row in use.iter_rows(named=True)]


def _claim(row: Mapping[str, Any], granted: Mapping[_Subject, bool], broken_checkpoints: Mapping[str, int]) -> Claim:
    where = (row["model"], row["category_level"], row["category"])
    return Claim(
        kind="use",
        statement=f"In {row['model']}, removing the best latent of {_named(row)} raises the loss on its texts by more "
        f"than the loss on other texts ({row['rise_own']:.4f} against {row['rise_other']:.4f} nats per token; layer "
        f"{row['layer']}, step {row['step']:,}).",
        estimate=row["use"],
        interval=(row["use_lo"], row["use_hi"]),
        unit="nats per token",
        q=row["q"],
        passes_gate=above(row["use_lo"]),
        controls=(
            Control("emergence", granted.get(where)),
            Control("equally_strong_latents", above(row["above_control_lo"])),
            Control("random_encoder", above(row["above_random_lo"])),
            Control("fdr", below(row["q"])),
            Control("sae_seed", seeds_agree(row["n_seeds_agree"], row["n_seeds"])),
            Control("checkpoints", broken_checkpoints.get(row["model"], 0) == 0, must=False),
            ONE_RUN,
        ),
        inputs=(f"feature_use {row['model']}",),
        figure="use_by_category",
        model=row["model"],
        category_level=row["category_level"],
        category=row["category"],
        step=row["step"],
        layer=row["layer"],
    )


def _named(row: Mapping[str, Any]) -> str:
    """Name the category, or the categories behind a mean."""
    if row["category"]:
        return str(row["category"])
    return f"{with_article(row['category_level'])} (mean over {row['n_categories']} that rise)"


def _subject(claim: Claim) -> _Subject:
    return claim.model, claim.category_level, claim.category
