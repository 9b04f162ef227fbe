"""Replication of a study: the statements that hold in a second run with other seeds throughout.

Grade B is about one run: intervals cover texts and SAE seeds, not the training run.
"""

import polars as pl

from emergence_assets.emergence.claims.grading import SUPPORTED
from emergence_assets.emergence.claims.table import KINDS

ABOUT = ("kind", "model", "category_level", "category", "unit", "figure")
"""Columns that identify the subject of a claim; its number, layer and wording may differ between runs."""
PLACES = ("step", "relative depth")
"""Units of claims about a place in training or depth: they have no sign, so that runs agree if intervals overlap."""
_SUPPORTED = pl.col("grade").is_in(SUPPORTED)


def beside(claims: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Join the claims of one run with the same statements of another run.

    Args:
        claims: claims of one run; see `CLAIMS`.
        other: claims of the other run.

    Returns:
        One row per claim of the first run, in its order, with more columns, null where the other run lacks the
        statement or a number is missing. Several claims about the same subject are paired in their order.

        * grade_other, estimate_other: grade and estimate in the other run.
        * other_inside: whether the other estimate lies in the interval of the first run. If both runs measured the same
          number, and intervals covered all that differs between them, it would in 83 % of cases.
        * agrees: for an effect, whether both intervals lie on the same side of 0; for a place (`PLACES`), whether they
          overlap; for a shape over sizes, whether the statements are the same but for their numbers.
        * holds: whether both runs support the claim and agree; null where the first run does not support it.
    """
    on = [*ABOUT, "nth"]
    here, there = (run.with_columns(nth=pl.int_range(pl.len()).over(ABOUT)) for run in (claims, other))
    names = ("grade", "statement", "estimate", "lo", "hi")
    there = there.select(*on, *(pl.col(name).alias(f"{name}_other") for name in names))
    rows = here.join(there, on=on, how="left", nulls_equal=True, validate="1:1", maintain_order="left")
    lo, hi, lo_other, hi_other = (pl.col(name) for name in ("lo", "hi", "lo_other", "hi_other"))
    overlap = (lo <= hi_other) & (lo_other <= hi)
    same_side = ((lo > 0) & (lo_other > 0)) | ((hi < 0) & (hi_other < 0))
    words, words_other = (pl.col(name).str.replace_all(r"\d[\d,]*", "") for name in ("statement", "statement_other"))
    is_place, is_shape = pl.col("unit").is_in(PLACES), pl.col("kind") == "size"
    agrees = pl.when(is_shape).then(words == words_other).when(is_place).then(overlap).otherwise(same_side)
    there_too = pl.col("grade_other").is_in(SUPPORTED).fill_null(False)
    return rows.with_columns(
        other_inside=pl.col("estimate_other").is_between(lo, hi),
        agrees=agrees,
        holds=pl.when(_SUPPORTED).then(there_too & agrees.fill_null(True)),
    ).drop("nth", "statement_other", "lo_other", "hi_other")


def replication(claims: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Count the statements that hold, by kind and separately for single categories and means over a level.

    Columns: kind, of (`category` or `mean`), stated (in both runs), inside and agree (of these, see `beside`),
    supported (in the first run), supported_there (in the other run), held, and by_chance: expected number of claims
    supported in both if the runs were independent.

    Args:
        claims: claims of one run; see `CLAIMS`.
        other: claims of the other run.
    """
    rows = beside(claims, other)
    in_both = pl.col("grade_other").is_not_null()
    there = pl.col("grade_other").is_in(SUPPORTED).fill_null(False)
    counted = (
        rows.with_columns(of=pl.when(pl.col("category").is_null()).then(pl.lit("mean")).otherwise(pl.lit("category")))
        .group_by("kind", "of", maintain_order=True)
        .agg(
            stated=in_both.sum(),
            inside=pl.col("other_inside").fill_null(False).sum(),
            agree=pl.col("agrees").fill_null(False).sum(),
            supported=(_SUPPORTED & in_both).sum(),
            supported_there=there.sum(),
            held=pl.col("holds").fill_null(False).sum(),
        )
    )
    by_chance = pl.col("supported") * pl.col("supported_there") / pl.max_horizontal("stated", pl.lit(1))
    order = pl.Enum(KINDS)
    return counted.with_columns(by_chance=by_chance).sort(pl.col("kind").cast(order), "of")
