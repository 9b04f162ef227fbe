"""Claims about the emergence tables: what their declarations demand, and what their rows owe to each other."""

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
FOLLOWS = "verdict_follows"
"""Another one."""
_FOLLOWS = Check(
    "verdicts_follow_from_their_gates",
    "A fall and return is stated exactly where every gate is passed, six layers among them.",
    (Condition("one_of", (FOLLOWS,), values=(True,)),),
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
        (tables.EMERGENCE_OVER_SPACE, ()),
        (tables.REACTIVATION, (_FOLLOWS,)),
        (tables.EMERGENCE_OVER_SCALE, ()),
    )
}


def with_comparison(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The rows of a table with the column that a check of this module looks at, if it has one."""
    if table is tables.REACTIVATION:
        gates = pl.all_horizontal(name for name in frame.columns if name.startswith("gate_"))
        stated = pl.col("verdict").is_in(["representational", "allocation"])
        return frame.with_columns(
            (stated == (gates & (pl.col("n_layers_read") >= 6) & pl.col("ri").is_not_null())).alias(FOLLOWS)
        )
    if table is tables.CATEGORY_PRESENCE:
        has_step_0 = (pl.col("step") == 0).any().over("model")
        needed = ("p_step0", "gain", "gain_lo", "gain_hi")
    elif table is tables.FEATURE_COUNTS:
        has_step_0 = (pl.col("step") == 0).any().over("model")
        needed = ("n_excess",)
    elif table is tables.EMERGENCE_OVER_TIME:
        has_step_0 = (pl.col("base").is_not_null() & (pl.col("n_steps") > 1)).any().over("model")
        needed = ("base", "amp", "p_step0", "censor", "emerged")
    else:
        return frame
    present = pl.all_horizontal(pl.col(name).is_not_null() for name in needed)
    return frame.with_columns((~has_step_0 | present).alias(COMPARED))
