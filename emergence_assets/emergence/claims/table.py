"""Tables `claims` and `emergence_hazard`, the life table of emergence."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from emergence_assets.emergence.claims.grading import GRADES
from resources.tables.columns import choice, count, list_of, share, step, string
from resources.tables.table import Column, Ordered, Table, with_interval

KINDS = ("emergence", "timing", "use", "depth", "reactivation", "size", "stability")
"""Kinds of statements, in the order of the report."""
CLAIMS = Table(
    "claims",
    "One row per statement of a study, supported or not: its evidence, its controls, its grade.",
    (
        Column("claim_id", pl.Int32, "number of the statement in this study, from 1", "number", 1),
        choice("kind", "kind of the statement", KINDS),
        string("statement", "a sentence that is true if the claim holds", "text"),
        keys.MODEL.or_null,
        keys.CATEGORY_LEVEL.or_null,
        keys.CATEGORY.or_null,
        keys.STEP.or_null,
        keys.LAYER.or_null,
        Column("estimate", pl.Float64, "the number behind the statement", "see unit").or_null,
        Column("lo", pl.Float64, "lower end of the 95 % interval of the estimate", "see unit").or_null,
        Column("hi", pl.Float64, "upper end of the 95 % interval of the estimate", "see unit").or_null,
        string("unit", "unit of the estimate"),
        columns.Q.or_null,
        columns.PASSES_GATE,
        list_of("controls_passed", "controls that the statement passed", "name", pl.String).or_null,
        list_of("controls_failed", "controls that the statement failed", "name", pl.String).or_null,
        list_of("controls_missing", "controls that were not measured", "name", pl.String).or_null,
        list_of("findings", "measured properties that speak neither for nor against it", "text", pl.String).or_null,
        choice("grade", "A, B: may be repeated; C: a control that must pass was not measured; reject", GRADES),
        string("policy", "rule by which the statement was graded"),
        list_of("inputs", "assets and cells that the statement is computed from", "name", pl.String).or_null,
        string("figure", "figure of the report that shows the evidence"),
    ),
    ("claim_id",),
    (Ordered(("lo", "hi")),),
)
EMERGENCE_HAZARD = Table(
    "emergence_hazard",
    "One row per model, control, level and gap between checkpoints: how many categories emerge in it.",
    (
        keys.MODEL,
        keys.N_PARAMS_NONEMB,
        keys.LAYER.or_null,
        keys.CONTROL_ID,
        keys.CATEGORY_LEVEL,
        step("step_lo", "checkpoint before the gap; the last checkpoint for categories that have not emerged"),
        step("step_hi", "checkpoint after the gap; null for categories that have not emerged").or_null,
        columns.N_CATEGORIES,
        count("n_left", "categories that were present before training", "categories"),
        count("n_at_risk", "categories that have not emerged by step_lo", "categories"),
        count("n_events", "categories that emerge in the gap", "categories").or_null,
        *with_interval(
            Column("hazard", pl.Float32, "n_events / n_at_risk per decade", "1 / decade of steps", 0).or_null
        ),
        *with_interval(
            share("emerged_frac", "share of the categories, n_left not counted, that have emerged by step_hi").or_null
        ),
    ),
    ("model", "control_id", "category_level", "step_lo"),
    (
        Ordered(("step_lo", "step_hi")),
        Ordered(("n_events", "n_at_risk", "n_categories")),
        Ordered(("n_left", "n_categories")),
    ),
)
