"""Which statements of a study hold with other seeds of everything as well.

A grade B says that of one run: intervals know texts and SAE seeds, not the run.
"""

import polars as pl

from emergence_assets.emergence.claims.grading import GRANTED
from emergence_assets.emergence.claims.table import KINDS

ABOUT = ("kind", "model", "category_level", "category", "unit", "figure")
"""What a claim is about; its number, its layer and its wording may be others in another run."""
_GRANTED = pl.col("grade").is_in(GRANTED)


def beside(claims: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """The claims, with what the same statements came to in the other run.

    Args:
        claims: of one run; see `CLAIMS`.
        other: of the other.

    Returns:
        One row per claim of the first, in its order, and two columns more: `grade_other`, null where nothing was
        stated there; `holds`, whether it is granted there too and the 95 % intervals have a value in common (null
        where it is not granted here). Of several claims about the same thing the first belongs to the first.
    """
    on = [*ABOUT, "nth"]
    here, there = (run.with_columns(nth=pl.int_range(pl.len()).over(ABOUT)) for run in (claims, other))
    there = there.select(*on, grade_other="grade", lo_other="lo", hi_other="hi")
    rows = here.join(there, on=on, how="left", nulls_equal=True, validate="1:1", maintain_order="left")
    overlap = (pl.col("lo") <= pl.col("hi_other")) & (pl.col("lo_other") <= pl.col("hi"))
    holds = pl.col("grade_other").is_in(GRANTED).fill_null(False) & overlap.fill_null(True)
    return rows.with_columns(holds=pl.when(_GRANTED).then(holds)).drop("nth", "lo_other", "hi_other")


def replication(claims: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """How many statements hold, a row per kind, and apart those of single categories and of means over a level.

    Columns: kind, of (`category` or `mean`), stated in both runs, granted here, granted there, held, and by_chance:
    as many would be granted in both if the two runs had nothing to do with each other.

    Args:
        claims: of one run; see `CLAIMS`.
        other: of the other.
    """
    rows = beside(claims, other)
    in_both = pl.col("grade_other").is_not_null()
    there = pl.col("grade_other").is_in(GRANTED).fill_null(False)
    counted = (
        rows.with_columns(of=pl.when(pl.col("category").is_null()).then(pl.lit("mean")).otherwise(pl.lit("category")))
        .group_by("kind", "of")
        .agg(
            stated=in_both.sum(),
            granted=(_GRANTED & in_both).sum(),
            granted_there=there.sum(),
            held=pl.col("holds").fill_null(False).sum(),
        )
    )
    by_chance = pl.col("granted") * pl.col("granted_there") / pl.max_horizontal("stated", pl.lit(1))
    order = pl.Enum(KINDS)
    return counted.with_columns(by_chance=by_chance).sort(pl.col("kind").cast(order), "of")
