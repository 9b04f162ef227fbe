"""Claims about the emergence tables: what their declarations demand, and what holds between their columns."""

import polars as pl

from emergence_assets.emergence.tables.categorical import FEATURE_COUNTS
from emergence_assets.emergence.tables.claims import CLAIMS
from emergence_assets.emergence.tables.controls import CATEGORY_CONTROLS
from emergence_assets.emergence.tables.cost import COMPRESSION_RETENTION, COST_UTILITY
from emergence_assets.emergence.tables.hazard import EMERGENCE_HAZARD
from emergence_assets.emergence.tables.lineage import FEATURE_LINEAGE, LINEAGE_NODES
from emergence_assets.emergence.tables.mechanism import REACTIVATION_MECHANISM
from emergence_assets.emergence.tables.presence import CATEGORY_PRESENCE, EXPANSION_PRESENCE
from emergence_assets.emergence.tables.reactivation import REACTIVATION
from emergence_assets.emergence.tables.saes import SAE_METRICS
from emergence_assets.emergence.tables.scale import EMERGENCE_OVER_SCALE, MODEL_SEEDS
from emergence_assets.emergence.tables.space import EMERGENCE_OVER_SPACE
from emergence_assets.emergence.tables.stability import LATENT_CARRY, LINEAGE_STABILITY
from emergence_assets.emergence.tables.time import EMERGENCE_OVER_TIME
from emergence_assets.table import Table
from resources.expectations import Check, Condition, between, table_checks

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

AT_CHANCE = "shuffled_at_chance"
"""Column that `with_comparison` adds."""
_AT_CHANCE = Check(
    "shuffled_labels_are_at_chance",
    "For labels permuted among all texts the best latent has a mean AUROC of 0.46 to 0.54 over categories.",
    (Condition("one_of", (AT_CHANCE,), values=(True,)),),
)

ALL_THERE = "every_control"
"""Column that `with_comparison` adds."""
_ALL_THERE = Check(
    "every_control_stands_beside_every_row",
    "Every category of every layer is compared with all the controls of the study.",
    (Condition("one_of", (ALL_THERE,), values=(True,)),),
)
FOLLOWS = "verdict_follows"
"""Column that `with_comparison` adds."""
_FOLLOWS = Check(
    "verdicts_follow_from_their_gates",
    "A fall and return is stated exactly where every gate is passed, six layers among them.",
    (Condition("one_of", (FOLLOWS,), values=(True,)),),
)

GRADE_FOLLOWS = "grade_follows"
"""Column that `with_comparison` adds."""
_GRADES_FOLLOW = Check(
    "grades_follow_from_controls",
    "A statement that its own numbers do not allow is rejected, and grade A has failed or missed no control.",
    (Condition("one_of", (GRADE_FOLLOWS,), values=(True,)),),
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
        (SAE_METRICS, ()),
        (CATEGORY_PRESENCE, (_COMPARED,)),
        (FEATURE_COUNTS, (_COMPARED,)),
        (CATEGORY_CONTROLS, (_AT_CHANCE, _ALL_THERE)),
        (EMERGENCE_OVER_TIME, (_COMPARED,)),
        (EMERGENCE_HAZARD, (_EVENTS_ADD_UP,)),
        (EMERGENCE_OVER_SPACE, ()),
        (EXPANSION_PRESENCE, ()),
        (MODEL_SEEDS, ()),
        (REACTIVATION, (_FOLLOWS,)),
        (EMERGENCE_OVER_SCALE, ()),
        (REACTIVATION_MECHANISM, (_ADD_UP,)),
        (COST_UTILITY, (_COMPARED,)),
        (CLAIMS, (_GRADES_FOLLOW,)),
        (COMPRESSION_RETENTION, (_UNCHANGED,)),
    )
}


def with_comparison(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The rows of a table with the columns that checks of several rows look at."""
    if table is EMERGENCE_HAZARD:
        group = ["model", "control_id", "category_level"]
        start = pl.col("n_categories") - pl.col("n_left")
        before = (pl.col("n_at_risk") - pl.col("n_events")).shift(1).over(group, order_by="step_lo")
        return frame.with_columns((pl.col("n_at_risk") == before.fill_null(start)).alias(ADDS_UP))
    if table is REACTIVATION_MECHANISM:
        return frame.with_columns(
            pl.sum_horizontal("share_carried", "share_attn", "share_mlp", ignore_nulls=False).alias(SHARE_SUM)
        )
    if table is CLAIMS:
        is_clean = pl.sum_horizontal(pl.col("controls_failed", "controls_missing").list.len()) == 0
        is_allowed = pl.col("passes_gate") | (pl.col("grade") == "reject")
        return frame.with_columns((is_allowed & ((pl.col("grade") != "A") | is_clean)).alias(GRADE_FOLLOWS))
    if table is REACTIVATION:
        gates = pl.all_horizontal(name for name in frame.columns if name.startswith("gate_"))
        stated = pl.col("verdict").is_in(["representational", "allocation"])
        return frame.with_columns(
            (stated == (gates & (pl.col("n_layers_read") >= 6) & pl.col("ri").is_not_null())).alias(FOLLOWS)
        )
    if table is COMPRESSION_RETENTION:
        lost = pl.col("mean_drop").abs() + (1 - pl.col("retention")) + (pl.col("fvu_ratio") - 1).abs()
        return frame.with_columns(pl.when(pl.col("variant") == "none").then(lost).alias(UNCHANGED_LOSS))
    if table is CATEGORY_PRESENCE or table is COST_UTILITY:
        has_step_0 = (pl.col("step") == 0).any().over("model")
        needed = (
            ("p_step0", "gain", "gain_lo", "gain_hi")
            if table is CATEGORY_PRESENCE
            else ("u_excess", "u_excess_lo", "u_excess_hi")
        )
    elif table is FEATURE_COUNTS:
        has_step_0 = (pl.col("step") == 0).any().over("model")
        needed = ("n_excess",)
    elif table is CATEGORY_CONTROLS:
        is_mean = (pl.col("control_id") == "label_shuffle") & (pl.col("aggregate") == "mean")
        place = ("model", "layer", "aggregate", "category_level", "category")
        return frame.with_columns(
            (~is_mean | pl.col("p_best").is_between(0.46, 0.54)).alias(AT_CHANCE),
            (pl.col("control_id").n_unique().over(place) == pl.col("control_id").n_unique().over("model")).alias(
                ALL_THERE
            ),
        )
    elif table is EMERGENCE_OVER_TIME:
        has_step_0 = (pl.col("base").is_not_null() & (pl.col("n_steps") > 1)).any().over("model")
        needed = ("base", "amp", "p_step0", "late_gain", "best_model", "censor", "passes_gate")
    else:
        return frame
    present = pl.all_horizontal(pl.col(name).is_not_null() for name in needed)
    return frame.with_columns((~has_step_0 | present).alias(COMPARED))


def _never(name: str, description: str, *columns: str) -> Check:
    return Check(name, description, tuple(between(column, 0, 0) for column in columns))


# Counted where the tables are made: a model of two layers carries nothing to a last third, and that is no fault.
_DECLARED = (
    _never("keys_are_unique", "No two rows share their key.", "repeated_keys"),
    _never(
        "values_are_as_declared",
        "No value is missing or outside the range that the table declares.",
        "missing_values",
        "values_out_of_range",
    ),
)
LINEAGE_CHECKS: dict[str, tuple[Table, tuple[Check, ...]]] = {
    table.name: (table, (*_DECLARED, check))
    for table, check in (
        (
            FEATURE_LINEAGE,
            _never(
                "matches_are_mutual_and_above_both_nulls",
                "Whatever is accepted is each other's best, exceeds both nulls, and is among the latents compared.",
                "accepted_below_a_null",
                "accepted_not_mutual",
                "edges_of_unknown_latents",
            ),
        ),
        (
            LINEAGE_NODES,
            _never(
                "lineages_are_chains",
                "No latent belongs to two lineages, and each begins before it ends.",
                "latents_of_two_lineages",
                "ends_before_it_begins",
            ),
        ),
        (
            LINEAGE_STABILITY,
            _never(
                "ratios_have_a_ceiling",
                "Nothing is divided by a ceiling below .1.",
                "ratios_over_a_low_ceiling",
            ),
        ),
        (
            LATENT_CARRY,
            _never(
                "joint_texts_are_part_of_both", "Both are active on no more texts than either.", "joint_above_either"
            ),
        ),
    )
}
