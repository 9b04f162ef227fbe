"""Tables of controls and their comparison with the measurement, at the last step."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from emergence_assets.features.columns import P_BEST, P_DENSE, P_SELECT, REPLICATES
from resources.tables.columns import auroc, count, difference
from resources.tables.table import Column, Table, with_interval

CONTROL_PARTS = Table(
    "control_parts",
    "One row per category and draw of one control, at the last step in the best layer of the level.",
    (
        keys.CONTROL_ID,
        keys.LAYER,
        Column("draw", pl.Int16, "number of the SAE of the control, from 0", "index", 0),
        keys.CATEGORY_LEVEL,
        keys.CATEGORY,
        P_SELECT,
        P_BEST,
        P_DENSE,
        REPLICATES.or_null,
    ),
    ("control_id", "layer", "category_level", "category", "draw"),
)
CATEGORY_CONTROLS = Table(
    "category_controls",
    "One row per control and category (or their mean), at the last step in the best layer of the level.",
    (
        *keys.CELL,
        *keys.SERIES,
        P_SELECT.or_null,
        *with_interval(P_BEST, nullable=True),
        P_DENSE.or_null,
        auroc("p_measured", "p_best of the measurement in the same cell, mean over SAE seeds"),
        *with_interval(difference("above_control", "p_measured - p_best of the control, paired over texts")),
        columns.P_VALUE.or_null,
        columns.Q.or_null,
        count("n_draws", "SAEs or random encoders behind the control, null for others", "draws", 1, pl.Int16).or_null,
        columns.N_SEEDS,
        columns.N_BOOT,
        columns.DATA_VERSION.or_null,
    ),
    ("model", "step", "layer", "control_id", "aggregate", "category_level", "category"),
)
