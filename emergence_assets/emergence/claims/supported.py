"""What the claims grant, put back onto the tables that the claims were made from."""

import polars as pl

from emergence_assets.emergence.claims.grading import GRANTED

_KEYS = ["model", "category_level", "category"]


def granted(claims: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The statements of a kind that may be repeated."""
    return claims.filter(pl.col("kind") == kind, pl.col("grade").is_in(GRANTED))


def supported_histories(time: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    """Rows of `emergence_over_time` at every model's best layer, with the columns `emerged` and `grade`.

    `emerged`: the claim that the row's category (or the mean) emerges is granted; null without step 0. Permuted labels
    are put to no controls: there the gate of the table alone decides, and says how often chance passes it.

    Args:
        time: `emergence_over_time`.
        claims: `claims` of the same study.
    """
    stated = claims.filter(pl.col("kind") == "emergence").select(*_KEYS, "grade")
    rows = time.filter(pl.col("layer_choice") == "best").join(
        stated, on=_KEYS, how="left", nulls_equal=True, validate="m:1", maintain_order="left"
    )
    is_measured = pl.col("control_id") == "none"
    allowed = ~is_measured | pl.col("grade").is_in(GRANTED).fill_null(False)
    # Without step 0 the gate is null, and so is what it allows: null and false would be false.
    emerged = pl.when(pl.col("passes_gate").is_not_null()).then(pl.col("passes_gate") & allowed)
    return rows.with_columns(grade=pl.when(is_measured).then("grade"), emerged=emerged)
