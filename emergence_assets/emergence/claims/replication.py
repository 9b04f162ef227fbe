"""Replication of a study: the statements that hold in a second run with other seeds throughout.

Grade B is about one run: intervals cover texts and SAE seeds, not the training run.
"""

import polars as pl

from emergence_assets.emergence.claims.grading import SUPPORTED
from emergence_assets.emergence.claims.table import KINDS

ABOUT = ("kind", "model", "category_level", "category", "unit", "figure")
"""Columns that identify the subject of a claim; its number, layer and wording may differ between runs."""
_SUPPORTED = pl.col("grade").is_in(SUPPORTED)


def beside(claims: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Join the claims of one run with the same statements of another run.

    Args:
        claims: claims of one run; see `CLAIMS`.
        other: claims of the other run.

    Returns:
        One row per claim of the first run, in its order, with two more columns. `grade_other`: grade in the other run,
        null where it lacks the statement. `holds`: whether the other run supports the claim too and the two 95 %
        intervals overlap; null where the first run does not support it. Several claims about the same subject are
        paired in their order.
    """
    on = [*ABOUT, "nth"]
    here, there = (run.with_columns(nth=pl.int_range(pl.len()).over(ABOUT)) for run in (claims, other))
    there = there.select(*on, grade_other="grade", lo_other="lo", hi_other="hi")
    rows = here.join(there, on=on, how="left", nulls_equal=True, validate="1:1", maintain_order="left")
    overlap = (pl.col("lo") <= pl.col("hi_other")) & (pl.col("lo_other") <= pl.col("hi"))
    holds = pl.col("grade_other").is_in(SUPPORTED).fill_null(False) & overlap.fill_null(True)
    return rows.with_columns(holds=pl.when(_SUPPORTED).then(holds)).drop("nth", "lo_other", "hi_other")


def replication(claims: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Count the statements that hold, by kind and separately for single categories and means over a level.

    Columns: kind, of (`category` or `mean`), stated (in both runs), supported (in the first run), supported_there (in
    the other run), held, and by_chance: expected number of claims supported in both if the runs were independent.

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
            supported=(_SUPPORTED & in_both).sum(),
            supported_there=there.sum(),
            held=pl.col("holds").fill_null(False).sum(),
        )
    )
    by_chance = pl.col("supported") * pl.col("supported_there") / pl.max_horizontal("stated", pl.lit(1))
    order = pl.Enum(KINDS)
    return counted.with_columns(by_chance=by_chance).sort(pl.col("kind").cast(order), "of")
