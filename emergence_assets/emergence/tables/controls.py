"""Controls beside the measurement, at the last step."""

import polars as pl

from emergence_assets.columns import AGGREGATE, CATEGORY, CATEGORY_LEVEL, CELL, CONTROL_ID, LAYER
from emergence_assets.emergence.tables.columns import DATA_VERSION, N_BOOT, N_SEEDS
from emergence_assets.features.tables.columns import P_BEST, P_DENSE, P_SELECT
from emergence_assets.features.tables.control_draws import CONTROL_DRAWS
from emergence_assets.table import Column, Table, with_interval

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
