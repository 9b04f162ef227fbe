"""Controls beside the measurement, at the last step."""

import polars as pl

from emergence_assets.checkpoints.columns import AGGREGATE, CATEGORY, CATEGORY_LEVEL, CELL, CONTROL_ID, LAYER
from emergence_assets.emergence.columns import DATA_VERSION, N_BOOT, N_SEEDS
from emergence_assets.features.columns import CONTROL_ROWS, P_BEST, P_DENSE, P_SELECT
from resources.tables.table import Column, Table, with_interval

ENCODER_DRAWS = 4
"""Random encoders of `dict_frozen_encoder` in each layer. They cost no training, and what a trained dictionary has
above one of them is hardly more than a draw moves (`docs/method.md`)."""
DRAW = Column("draw", pl.Int16, "which of several random draws of the control, from 0", "index", 0)
CONTROL_DRAWS = (DRAW, *CONTROL_ROWS)
"""Presence of one category under one draw of a control of the last step."""
CONTROL_PARTS = Table(
    "control_parts",
    "One row per layer, category and draw of one control at the last step, with replicates.",
    (CONTROL_ID, LAYER, *CONTROL_DRAWS),
    ("control_id", "layer", "category_level", "category", "draw"),
)
CATEGORY_CONTROLS = Table(
    "category_controls",
    "One row per layer, control and category (or their mean) at the last step, beside the measurement.",
    (
        *CELL,
        CONTROL_ID,
        AGGREGATE,
        CATEGORY_LEVEL,
        CATEGORY.or_null,
        P_SELECT.or_null,
        *with_interval(P_BEST, nullable=True),
        P_DENSE.or_null,
        Column(
            "p_measured", pl.Float32, "p_best of the measurement in the same cell, mean over SAE seeds", "AUROC", 0, 1
        ),
        *with_interval(
            Column("above_control", pl.Float32, "p_measured - p_best of the control, paired over texts", "AUROC", -1, 1)
        ),
        Column("n_draws", pl.Int16, "random draws behind the control; null where nothing is drawn", "draws", 1).or_null,
        N_SEEDS,
        N_BOOT,
        DATA_VERSION.or_null,
    ),
    ("model", "step", "layer", "control_id", "aggregate", "category_level", "category"),
)
