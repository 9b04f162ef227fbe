"""What may be said: statements, and the figures of the headline."""

import polars as pl

from emergence_assets.columns import CATEGORY, CATEGORY_LEVEL, CONTROL_ID, LAYER, MODEL, N_PARAMS_NONEMB, STEP
from emergence_assets.emergence.grading import GRADES
from emergence_assets.emergence.tables.columns import (
    N_CATEGORIES,
    N_LAYERS_READ,
    P_BOW,
    P_SHUFFLE,
    PASSES_GATE,
    RISE,
    STEP_LAST,
    Q,
)
from emergence_assets.table import Column, Ordered, Table, with_interval

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

HEADLINE = Table(
    "headline",
    "One row per model, level and control: means over categories and layers, first against last checkpoint.",
    (
        MODEL,
        N_PARAMS_NONEMB,
        CATEGORY_LEVEL,
        CONTROL_ID,
        N_CATEGORIES.or_null,
        N_LAYERS_READ.or_null,
        Column("step_first", pl.Int32, "first checkpoint", "steps", 0, nullable=True),
        STEP_LAST.or_null,
        *with_interval(
            Column("p_first", pl.Float32, "mean p_best at the first checkpoint", "AUROC", 0, 1), nullable=True
        ),
        *with_interval(
            Column("p_last", pl.Float32, "mean p_best at the last checkpoint", "AUROC", 0, 1), nullable=True
        ),
        *with_interval(RISE),
        Column(
            "n_strong_first",
            pl.Float32,
            "categories with p_best >= 0.75 at the first checkpoint, mean over layers",
            "categories",
            0,
            nullable=True,
        ),
        Column("n_strong_last", pl.Float32, "the same at the last checkpoint", "categories", 0, nullable=True),
        Column("p_dense_first", pl.Float32, "mean p_dense at the first checkpoint", "AUROC", 0, 1, nullable=True),
        Column("p_dense_last", pl.Float32, "mean p_dense at the last checkpoint", "AUROC", 0, 1, nullable=True),
        P_BOW.or_null,
        P_SHUFFLE,
        Column("p_shuffle_min", pl.Float32, "smallest cell mean under permuted labels", "AUROC", 0, 1, nullable=True),
        Column("p_shuffle_max", pl.Float32, "largest cell mean under permuted labels", "AUROC", 0, 1, nullable=True),
    ),
    ("model", "category_level", "control_id"),
    (Ordered(("p_shuffle_min", "p_shuffle", "p_shuffle_max")),),
)
