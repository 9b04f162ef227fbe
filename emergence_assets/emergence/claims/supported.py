"""Grades of the claims joined to their source tables."""

import polars as pl

from emergence_assets.emergence.claims.grading import SUPPORTED

_KEYS = ["model", "category_level", "category"]


def supported(claims: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Return the statements of a kind that may be repeated, see `grading.SUPPORTED`."""
    return claims.filter(pl.col("kind") == kind, pl.col("grade").is_in(SUPPORTED))


def supported_histories(time: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    """Return presence rows of `emergence_over_time` at every model's best layer, with columns `emerged` and `grade`.

    `emerged`: whether the claim that the row's category (or the mean) emerges is supported; null without step 0.
    Permuted labels are tested against no controls: `passes_gate` alone decides, and shows how often chance meets it.

    Args:
        time: `emergence_over_time`.
        claims: `claims` of the same study.
    """
    stated = claims.filter(pl.col("kind") == "emergence").select(*_KEYS, "grade")
    rows = time.filter(pl.col("layer_choice") == "best", pl.col("metric") == "p_best").join(
        stated, on=_KEYS, how="left", nulls_equal=True, validate="m:1", maintain_order="left"
    )
    is_measured = pl.col("control_id") == "none"
    allowed = ~is_measured | pl.col("grade").is_in(SUPPORTED).fill_null(False)
    # Without step 0 the result is null like passes_gate; a plain "and" would turn null and false into false.
    emerged = pl.when(pl.col("passes_gate").is_not_null()).then(pl.col("passes_gate") & allowed)
    return rows.with_columns(grade=pl.when(is_measured).then("grade"), emerged=emerged)
