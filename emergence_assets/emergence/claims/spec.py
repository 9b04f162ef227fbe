"""Assets `claims` (statements with their grades) and `emergence_hazard` (derived from them)."""

import polars as pl

from emergence_assets.emergence.claims.table import CLAIMS as CLAIMS_TABLE
from emergence_assets.emergence.claims.table import EMERGENCE_HAZARD as HAZARD_TABLE
from emergence_assets.features.spec import sections
from emergence_assets.plan.table_spec import table_spec
from resources.tables.relation import Relation

EVIDENCE = (
    "checkpoint_registry",
    "category_presence",
    "category_controls",
    "feature_use",
    "emergence_over_time",
    "emergence_over_space",
    "reactivation",
    "reactivation_mechanism",
    "lineage_stability",
    "emergence_over_scale",
    "model_seeds",
)
"""Source assets of the statements."""
_AT_RISK_NEXT = (pl.col("n_at_risk") - pl.col("n_events")).shift(1)
_OF_CURVE = ("model", "control_id", "category_level")


CLAIMS = table_spec(
    CLAIMS_TABLE,
    EVIDENCE,
    "emergence_assets.emergence.claims.worker:collect_claims",
    grid="study",
    recipe=sections("probe_set"),
    relations=(
        Relation(
            "grades_follow_from_controls",
            "A statement that fails the criteria of its table is rejected; grade A has no failed or missing control.",
            (pl.col("passes_gate") | (pl.col("grade") == "reject"))
            & (
                (pl.col("grade") != "A")
                | (pl.sum_horizontal(pl.col("controls_failed", "controls_missing").list.len()) == 0)
            ),
        ),
    ),
)
EMERGENCE_HAZARD = table_spec(
    HAZARD_TABLE,
    ("category_presence", "emergence_over_time", "claims"),
    "emergence_assets.emergence.claims.hazard:emergence_hazard",
    relations=(
        Relation(
            "who_emerged_is_at_risk_no_more",
            "The number at risk is the number at risk before, minus the categories that emerged in between.",
            pl.col("n_at_risk")
            == _AT_RISK_NEXT.over(_OF_CURVE, order_by="step_lo").fill_null(pl.col("n_categories") - pl.col("n_left")),
        ),
    ),
)
