"""Asset `emergence_over_time`."""

import polars as pl

from emergence_assets.emergence.relations import beside_every_row, measured_from_step_0
from emergence_assets.emergence.time.table import EMERGENCE_OVER_TIME as TABLE
from emergence_assets.plan.table_spec import table_spec
from resources.tables.relation import Relation

EMERGENCE_OVER_TIME = table_spec(
    TABLE,
    ("category_presence",),
    "emergence_assets.emergence.time.over_time:emergence_over_time",
    relations=(
        Relation(
            "presence_is_an_auroc",
            "Presence lies between 0 and 1; only net presence, a difference, may be negative.",
            (pl.col("metric") != "p_best")
            | pl.all_horizontal(
                pl.col(f"{name}{end}").is_between(0, 1).fill_null(True)
                for name in ("base", "p_end", "late")
                for end in ("", "_lo", "_hi")
            ),
        ),
        measured_from_step_0(
            *("base", "amp", "late", "late_gain", "best_model", "censor", "passes_gate", "is_dated"),
            has_step_0=(pl.col("base").is_not_null() & (pl.col("n_steps") > 1)).any().over("model"),
        ),
        beside_every_row("metric", "model", "layer_choice", "layer", "aggregate", "category_level", "category"),
    ),
)
