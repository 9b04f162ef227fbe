"""How many categories emerge between two checkpoints."""

import polars as pl

from emergence_assets.columns import CATEGORY_LEVEL, CONTROL_ID, LAYER, MODEL, N_PARAMS_NONEMB
from emergence_assets.emergence.tables.columns import N_CATEGORIES
from emergence_assets.table import Column, Ordered, Table, with_interval

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
