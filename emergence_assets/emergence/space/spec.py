"""Assets `emergence_over_space` and `reactivation`: presence over layers."""

import polars as pl

from emergence_assets.emergence.relations import beside_every_row
from emergence_assets.emergence.space.table import EMERGENCE_OVER_SPACE as SPACE_TABLE
from emergence_assets.emergence.space.table import REACTIVATION as REACTIVATION_TABLE
from emergence_assets.plan.table_spec import table_spec
from resources.tables.relation import Relation

_CRITERIA = pl.all_horizontal(pl.col("^gate_.*$"))

EMERGENCE_OVER_SPACE = table_spec(
    SPACE_TABLE,
    ("category_presence",),
    "emergence_assets.emergence.space.over_space:emergence_over_space",
    relations=(beside_every_row("model", "step", "aggregate", "category_level", "category"),),
)
REACTIVATION = table_spec(
    REACTIVATION_TABLE,
    ("category_presence",),
    "emergence_assets.emergence.space.reactivation:reactivation",
    relations=(
        Relation(
            "verdicts_follow_from_their_gates",
            "A drop and return is stated exactly where every criterion is met, including that of six layers.",
            pl.col("verdict").is_in(["representational", "allocation", "geometric"])
            == (_CRITERIA & (pl.col("n_layers_read") >= 6) & pl.col("ri").is_not_null()),
        ),
        beside_every_row("model", "step", "level", "aggregate", "category_level", "category"),
    ),
)
