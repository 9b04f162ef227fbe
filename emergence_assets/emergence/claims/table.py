"""What may be said: statements, and the figures of the headline."""

import polars as pl

from emergence_assets.checkpoints.columns import (
    CATEGORY,
    CATEGORY_LEVEL,
    CONTROL_ID,
    LAYER,
    MODEL,
    N_PARAMS_NONEMB,
    STEP,
)
from emergence_assets.emergence.claims.grading import GRADES
from emergence_assets.emergence.columns import (
    N_CATEGORIES,
    PASSES_GATE,
    Q,
)
from resources.tables.table import Column, Ordered, Table, with_interval

KINDS = ("emergence", "timing", "depth", "reactivation", "size", "stability")
"""What statements are about, in the order in which a reader meets them."""
CLAIMS = Table(
    "claims",
    "One row per statement that a study may or may not make: its evidence, its controls, its grade.",
    (
        Column("claim_id", pl.Int32, "number of the statement in this study, from 1", "number", 1),
        Column("kind", pl.String, "what it is about", "name", one_of=KINDS),
        Column("statement", pl.String, "a sentence that is right if the claim holds", "text"),
        MODEL.or_null,
        CATEGORY_LEVEL.or_null,
        CATEGORY.or_null,
        STEP.or_null,
        LAYER.or_null,
        Column("estimate", pl.Float64, "the number behind it", "see unit", nullable=True),
        Column("lo", pl.Float64, "lower end of its 95 % interval", "see unit", nullable=True),
        Column("hi", pl.Float64, "upper end of its 95 % interval", "see unit", nullable=True),
        Column("unit", pl.String, "unit of the estimate", "name"),
        Q.or_null,
        PASSES_GATE,
        Column("controls_passed", pl.List(pl.String), "controls that it survived", "name", nullable=True),
        Column("controls_failed", pl.List(pl.String), "controls that speak against it", "name", nullable=True),
        Column("controls_missing", pl.List(pl.String), "controls that were not measured", "name", nullable=True),
        Column(
            "grade",
            pl.String,
            "A, B: may be repeated; C: a control that must pass was not measured; reject",
            "name",
            one_of=GRADES,
        ),
        Column("policy", pl.String, "rule by which it was graded", "name"),
        Column("inputs", pl.List(pl.String), "assets and cells that it was made from", "name", nullable=True),
        Column("figure", pl.String, "figure of the report that shows it", "name"),
    ),
    ("claim_id",),
    (Ordered(("lo", "hi")),),
)


EMERGENCE_HAZARD = Table(
    "emergence_hazard",
    "One row per model, control, level and gap between checkpoints: how many categories emerge in it.",
    (
        MODEL,
        N_PARAMS_NONEMB,
        LAYER.or_null,
        CONTROL_ID,
        CATEGORY_LEVEL,
        Column("step_lo", pl.Int32, "checkpoint before the gap; the last one for what is open", "steps", 0),
        Column("step_hi", pl.Int32, "checkpoint after the gap; null for what is open", "steps", 0, nullable=True),
        N_CATEGORIES,
        Column("n_left", pl.Int32, "categories that were there before training", "categories", 0),
        Column("n_at_risk", pl.Int32, "categories that have not emerged by step_lo", "categories", 0),
        Column("n_events", pl.Int32, "categories that emerge in the gap", "categories", 0, nullable=True),
        *with_interval(
            Column("hazard", pl.Float32, "n_events / n_at_risk per decade", "1 / decade of steps", 0, nullable=True)
        ),
        *with_interval(
            Column(
                "emerged_frac",
                pl.Float32,
                "share of the categories that have emerged by step_hi, n_left not counted",
                "ratio",
                0,
                1,
                nullable=True,
            )
        ),
    ),
    ("model", "control_id", "category_level", "step_lo"),
    (
        Ordered(("step_lo", "step_hi")),
        Ordered(("n_events", "n_at_risk", "n_categories")),
        Ordered(("n_left", "n_categories")),
    ),
)
