"""Conditions between rows or columns of a table of this stage, beside those of single columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from emergence_assets.features.chance import BLOCKING_RANGE
from resources.tables.expectations import Check, Condition


@dataclass(frozen=True)
class Relation:
    """A claim about the rows of a table; its name reads as one."""

    name: str
    description: str
    holds: pl.Expr
    """True where a row agrees with it; false and null break it."""

    @property
    def check(self) -> Check:
        """The check of the column that `with_relations` adds."""
        return Check(self.name, self.description, (Condition("one_of", (self.name,), values=(True,)),))


def with_relations(frame: pl.DataFrame, relations: Sequence[Relation]) -> pl.DataFrame:
    """The rows of a table with a column of truths per relation."""
    return frame.with_columns(relation.holds.alias(relation.name) for relation in relations)


def measured_from_step_0(*needed: str, has_step_0: pl.Expr | None = None) -> Relation:
    """Numbers that compare with step 0 are there where the model has it."""
    can = (pl.col("step") == 0).any().over("model") if has_step_0 is None else has_step_0
    return Relation(
        "changes_are_measured_from_step_0",
        "Where a model has step 0, every number that compares with it is there; without it none can be.",
        ~can | pl.all_horizontal(pl.col(name).is_not_null() for name in needed),
    )


def beside_every_row(*place: str) -> Relation:
    """Every category has the same controls at every place."""
    return Relation(
        "every_control_stands_beside_every_row",
        "Every category is compared with the same controls wherever it is measured.",
        pl.col("control_id").n_unique().over(place) == pl.col("control_id").n_unique().over(place[0]),
    )


def at_chance(value: pl.Expr, is_shuffled: pl.Expr) -> Relation:
    """Permuted labels give an AUROC near 0.5."""
    return Relation(
        "shuffled_labels_are_at_chance",
        "For labels permuted among all texts the best latent has a mean AUROC of {} to {} over categories.".format(
            *BLOCKING_RANGE
        ),
        ~is_shuffled | value.is_between(*BLOCKING_RANGE),
    )


_IS_SHUFFLED = pl.col("control_id") == "label_shuffle"
_MEAN_PRESENCE = pl.col("p_best").mean().over("model", "control_id", "category_level")
_CELL = ("model", "step", "layer", "category_level", "category")
_PRESENCE = (
    measured_from_step_0("p_step0", "gain", "gain_lo", "gain_hi"),
    at_chance(_MEAN_PRESENCE, _IS_SHUFFLED),
    beside_every_row(*_CELL),
)
_GATES = pl.all_horizontal(pl.col("^gate_.*$"))
_LOST = pl.col("mean_drop").abs() + (1 - pl.col("retention")) + (pl.col("fvu_ratio") - 1).abs()
_AT_RISK_NEXT = (pl.col("n_at_risk") - pl.col("n_events")).shift(1)
_OF_CURVE = ("model", "control_id", "category_level")
RELATIONS: dict[str, tuple[Relation, ...]] = {
    "category_presence": _PRESENCE,
    "expansion_presence": _PRESENCE,
    "feature_counts": (measured_from_step_0("n_excess"),),
    "category_controls": (
        at_chance(pl.col("p_best"), _IS_SHUFFLED & (pl.col("aggregate") == "mean")),
        beside_every_row("model", "layer", "aggregate", "category_level", "category"),
    ),
    "emergence_over_time": (
        measured_from_step_0(
            *("base", "amp", "p_step0", "late_gain", "best_model", "censor", "passes_gate"),
            has_step_0=(pl.col("base").is_not_null() & (pl.col("n_steps") > 1)).any().over("model"),
        ),
        beside_every_row("model", "layer_choice", "layer", "aggregate", "category_level", "category", "metric"),
    ),
    "emergence_hazard": (
        Relation(
            "who_emerged_is_at_risk_no_more",
            "Categories at risk are those at risk before, less those that emerged in between.",
            pl.col("n_at_risk")
            == _AT_RISK_NEXT.over(_OF_CURVE, order_by="step_lo").fill_null(pl.col("n_categories") - pl.col("n_left")),
        ),
    ),
    "emergence_over_space": (beside_every_row("model", "step", "aggregate", "category_level", "category"),),
    "reactivation": (
        Relation(
            "verdicts_follow_from_their_gates",
            "A fall and return is stated exactly where every gate is passed, six layers among them.",
            pl.col("verdict").is_in(["representational", "allocation"])
            == (_GATES & (pl.col("n_layers_read") >= 6) & pl.col("ri").is_not_null()),
        ),
        beside_every_row("model", "step", "level", "aggregate", "category_level", "category"),
    ),
    "reactivation_mechanism": (
        Relation(
            "shares_add_up",
            "Carried, attention and MLP are the whole of the contrast.",
            pl.sum_horizontal("share_carried", "share_attn", "share_mlp", ignore_nulls=False)
            .is_between(0.999, 1.001)
            .fill_null(True),
        ),
    ),
    "emergence_over_scale": (beside_every_row("sae_design", "condition", "aggregate", "category_level", "category"),),
    "cost_utility": (
        measured_from_step_0("u_excess", "u_excess_lo", "u_excess_hi"),
        beside_every_row("model", "step", "category_level"),
    ),
    "compression_retention": (
        Relation(
            "unchanged_models_lose_nothing",
            "The row of the model itself has no drop, retains every category and explains as much.",
            (pl.col("variant") != "none") | (_LOST <= 1e-6).fill_null(True),
        ),
    ),
    "claims": (
        Relation(
            "grades_follow_from_controls",
            "A statement that its own numbers do not allow is rejected, and grade A has failed or missed no control.",
            (pl.col("passes_gate") | (pl.col("grade") == "reject"))
            & (
                (pl.col("grade") != "A")
                | (pl.sum_horizontal(pl.col("controls_failed", "controls_missing").list.len()) == 0)
            ),
        ),
    ),
}
"""By table; a table that is not named has none."""
