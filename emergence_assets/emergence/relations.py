"""Relations between rows, shared by several tables of this stage."""

import polars as pl

from emergence_assets.features.chance import BLOCKING_RANGE
from resources.tables.relation import Relation


def measured_from_step_0(*needed: str, has_step_0: pl.Expr | None = None) -> Relation:
    """Require columns that compare with step 0 to have values for every model that has step 0."""
    can = (pl.col("step") == 0).any().over("model") if has_step_0 is None else has_step_0
    return Relation(
        "changes_are_measured_from_step_0",
        "If a model has step 0, every number that compares with it is present; without step 0 none can be.",
        ~can | pl.all_horizontal(pl.col(name).is_not_null() for name in needed),
    )


def beside_every_row(*place: str) -> Relation:
    """Require the same controls for every category at every place, such as a step and layer."""
    return Relation(
        "every_control_stands_beside_every_row",
        "Every category is compared with the same controls wherever it is measured.",
        pl.col("control_id").n_unique().over(place) == pl.col("control_id").n_unique().over(place[0]),
    )


def at_chance(value: pl.Expr, is_shuffled: pl.Expr) -> Relation:
    """Require an AUROC near 0.5 for permuted labels."""
    return Relation(
        "shuffled_labels_are_at_chance",
        "For labels permuted among all texts the best latent has a mean AUROC of {} to {} over categories.".format(
            *BLOCKING_RANGE
        ),
        ~is_shuffled | value.is_between(*BLOCKING_RANGE),
    )


IS_SHUFFLED = pl.col("control_id") == "label_shuffle"
PRESENCE_RELATIONS = (
    measured_from_step_0("p_step0", "gain", "gain_lo", "gain_hi"),
    at_chance(pl.col("p_best").mean().over("model", "control_id", "category_level"), IS_SHUFFLED),
    beside_every_row("model", "step", "layer", "category_level", "category"),
)
"""Relations of tables with one row per cell, control and category."""
