"""Claims about the emergence tables: what their declarations demand, and what holds between their columns."""

import polars as pl

from emergence_assets.emergence import tables
from resources.expectations import Check, Condition, between, table_checks
from resources.tables import Table

COMPARED = "compared_with_step_0"
"""Column that `with_comparison` adds."""
_COMPARED = Check(
    "changes_are_measured_from_step_0",
    "Where a model has step 0, every number that compares with it is there; without it none can be.",
    (Condition("one_of", (COMPARED,), values=(True,)),),
)
ADDS_UP = "adds_up"
"""Column that `with_comparison` adds to the hazard."""
_EVENTS_ADD_UP = Check(
    "who_emerged_is_at_risk_no_more",
    "Categories at risk are those at risk before, less those that emerged in between.",
    (Condition("one_of", (ADDS_UP,), values=(True,)),),
)
SHARE_SUM = "share_sum"
"""Column that `with_comparison` adds."""
_ADD_UP = Check(
    "shares_add_up",
    "Carried, attention and MLP are the whole of the contrast.",
    (between(SHARE_SUM, 0.999, 1.001, nullable=True),),
)
UNCHANGED_LOSS = "unchanged_loss"
"""Column that `with_comparison` adds."""
_UNCHANGED = Check(
    "unchanged_models_lose_nothing",
    "The row of the model itself has no drop, retains every category and explains as much.",
    (between(UNCHANGED_LOSS, 0, 1e-6, nullable=True),),
)

# A study in which no latent is categorical has an empty table, which is a result: its summary is checked.
FEATURES_CHECKS = (
    Check("keys_are_unique", "No two rows share their key.", (between("repeated_keys", 0, 0),)),
    Check(
        "latents_are_compared_with_step_0",
        "Where a model has step 0, every latent has its excess over the untrained network.",
        (between("not_compared", 0, 0),),
    ),
    Check(
        "the_study_corrects_at_least_as_much_as_a_test",
        "q over the study is at least p, and at most 1.",
        (between("q_below_p", 0, 0),),
    ),
)

CHECKS: dict[str, tuple[Table, tuple[Check, ...]]] = {
    table.name: (table, (*table_checks(table), *more))
    for table, more in (
        (tables.SAE_METRICS, ()),
        (tables.CATEGORY_PRESENCE, (_COMPARED,)),
        (tables.FEATURE_COUNTS, (_COMPARED,)),
        (tables.EMERGENCE_OVER_TIME, (_COMPARED,)),
        (tables.EMERGENCE_HAZARD, (_EVENTS_ADD_UP,)),
        (tables.EMERGENCE_OVER_SPACE, ()),
        (tables.EMERGENCE_OVER_SCALE, ()),
        (tables.REACTIVATION_MECHANISM, (_ADD_UP,)),
        (tables.COMPRESSION_RETENTION, (_UNCHANGED,)),
    )
}


def with_comparison(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The rows of a table with the columns that checks of several rows look at."""
    if table is tables.EMERGENCE_HAZARD:
        group = ["model", "control_id", "category_level"]
        start = pl.col("n_categories") - pl.col("n_left")
        before = (pl.col("n_at_risk") - pl.col("n_events")).shift(1).over(group, order_by="step_lo")
        return frame.with_columns((pl.col("n_at_risk") == before.fill_null(start)).alias(ADDS_UP))
    if table is tables.REACTIVATION_MECHANISM:
        return frame.with_columns(
            pl.sum_horizontal("share_carried", "share_attn", "share_mlp", ignore_nulls=False).alias(SHARE_SUM)
        )
    if table is tables.COMPRESSION_RETENTION:
        lost = pl.col("mean_drop").abs() + (1 - pl.col("retention")) + (pl.col("fvu_ratio") - 1).abs()
        return frame.with_columns(pl.when(pl.col("variant") == "none").then(lost).alias(UNCHANGED_LOSS))
    if table is tables.CATEGORY_PRESENCE:
        has_step_0 = (pl.col("step") == 0).any().over("model")
        needed = ("p_step0", "gain", "gain_lo", "gain_hi")
    elif table is tables.FEATURE_COUNTS:
        has_step_0 = (pl.col("step") == 0).any().over("model")
        needed = ("n_excess",)
    elif table is tables.EMERGENCE_OVER_TIME:
        has_step_0 = (pl.col("base").is_not_null() & (pl.col("n_steps") > 1)).any().over("model")
        needed = ("base", "amp", "p_step0", "late_gain", "best_model", "censor", "emerged")
    else:
        return frame
    present = pl.all_horizontal(pl.col(name).is_not_null() for name in needed)
    return frame.with_columns((~has_step_0 | present).alias(COMPARED))
