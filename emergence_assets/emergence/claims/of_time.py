"""Statements about training: that a category emerges, and at what step half of its rise is reached."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.emergence.claims.claim import Claim, above, below, one_of_level, seeds_agree, subject
from emergence_assets.emergence.claims.grading import Control
from emergence_assets.emergence.presence.replicates import group_means, replicate_array
from emergence_assets.features.statistics.formulas import interval

MUST_BEAT = ("label_shuffle", "label_shuffle_within_length", "reinit_full", "reinit_keep_embed", "dict_frozen_encoder")
"""Controls of `category_controls` without which a feature is one of chance, length, architecture or any dictionary."""
SHOULD_BEAT = ("act_gauss", "dict_frozen_decoder", "text_wordshuffle", "bow")
"""Where presence does not beat these it may be one of words, or of directions that any decoder would do for."""
_KEYS = ("model", "layer", "category_level", "aggregate", "category")


def claims_of_time(
    time: pl.DataFrame,
    controls: pl.DataFrame,
    presence: pl.DataFrame,
    model_seeds: pl.DataFrame,
    broken_checkpoints: Mapping[str, int],
) -> list[Claim]:
    """Two statements per model and category, and per model and mean: that it emerges, and when.

    Args:
        time: `emergence_over_time`.
        controls: `category_controls`.
        presence: `category_presence`; asked whether the dense probe rises too.
        model_seeds: `model_seeds`; empty where no model has a second run.
        broken_checkpoints: per model the number of its checkpoints that were left out.
    """
    rows = time.filter(
        pl.col("layer_choice") == "best",
        pl.col("control_id") == "none",
        pl.col("metric") == "p_best",
    )
    beaten = _beaten(controls)
    dense = _dense_rises(presence, rows)
    runs = _runs_agree(model_seeds)
    claims = []
    for row in rows.iter_rows(named=True):
        key = tuple(row[name] for name in _KEYS)
        evidence = (
            Control("step0", above(row["amp_lo"], 0.0)),
            Control("fdr", below(row["q_emerged"])),
            Control("sae_seed", seeds_agree(row["n_seeds_agree"], row["n_seeds"])),
            Control("checkpoints", broken_checkpoints.get(row["model"], 0) == 0, must=False),
            *(Control(name, beaten.get((*key, name))) for name in MUST_BEAT),
            *(Control(name, beaten.get((*key, name)), must=False) for name in SHOULD_BEAT),
            Control("dense", dense.get(key), must=False),
            Control("model_seed", runs.get((row["model"], *key[2:])), must=False),
        )
        claims.append(_emergence(row, evidence))
        if row["passes_gate"]:
            claims.append(_timing(row, evidence))
    return claims


def _emergence(row: Mapping[str, Any], evidence: Iterable[Control]) -> Claim:
    return Claim(
        kind="emergence",
        statement=_emergence_statement(row),
        estimate=row["amp"],
        interval=(row["amp_lo"], row["amp_hi"]),
        unit="AUROC",
        q=row["q_emerged"],
        passes_gate=row["passes_gate"],
        controls=tuple(evidence),
        inputs=_inputs(row["model"]),
        figure="presence_over_time" if row["category"] is None else "gain_by_category",
        **_where(row),
    )


def _timing(row: Mapping[str, Any], evidence: Iterable[Control]) -> Claim:
    model_free, lo, hi = row["half_step_interp"], row["half_step_lo"], row["half_step_hi"]
    agrees = None if None in (model_free, lo, hi) else lo <= model_free <= hi
    return Claim(
        kind="timing",
        statement=f"Half of the rise of {subject(row)} in {row['model']} is reached by step {_step(row['half_step'])}.",
        estimate=row["half_step"],
        interval=(lo, hi),
        unit="step",
        q=row["q_emerged"],
        passes_gate=row["half_step"] is not None and row["censor"] == "none",
        controls=(*evidence, Control("interpolation", agrees, must=False)),
        inputs=_inputs(row["model"]),
        figure="half_steps_by_category" if row["category"] else "presence_over_time",
        **_where(row),
    )


def _where(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("model", "category_level", "category", "layer")} | {"step": row["step_last"]}


def _inputs(model: str) -> tuple[str, ...]:
    return tuple(f"{name} {model}" for name in ("emergence_over_time", "category_controls", "category_presence"))


def _emergence_statement(row: Mapping[str, Any]) -> str:
    where = f"layer {row['layer']}, by step {row['step_last']:,}"
    if row["category"] is not None:
        return f"In {row['model']}, a latent that identifies {row['category']} emerges during training ({where})."
    return (
        f"In {row['model']}, latents that identify {one_of_level(row['category_level'])} emerge during training "
        f"(mean over all categories, {where})."
    )


def _step(value: float | None) -> str:
    return "an unknown one" if value is None else f"{value:,.0f}"


def _beaten(controls: pl.DataFrame) -> dict[tuple[Any, ...], bool | None]:
    """Whether presence lies above a control with its whole interval, by key and control."""
    return {
        (*(row[name] for name in _KEYS), row["control_id"]): above(row["above_control_lo"], 0.0)
        for row in controls.select(*_KEYS, "control_id", "above_control_lo").iter_rows(named=True)
    }


def _dense_rises(presence: pl.DataFrame, rows: pl.DataFrame) -> dict[tuple[Any, ...], bool | None]:
    """Whether the dense probe's AUROC at the last step lies above that of step 0 with its whole interval."""
    wanted = rows.select("model", "layer", "category_level").unique()
    measured = presence.filter(pl.col("control_id") == "none").join(wanted, on=wanted.columns, how="semi")
    ends = measured.filter((pl.col("step") == 0) | (pl.col("step") == pl.col("step").max().over("model")))
    answers: dict[tuple[Any, ...], bool | None] = {}
    for (model, layer, level), part in ends.group_by("model", "layer", "category_level"):
        first, last = (part.filter(pl.col("step") == step).sort("category") for step in (0, part["step"].max()))
        if first["category"].to_list() != last["category"].to_list() or last["step"].max() == 0:
            continue
        rise_cb = replicate_array(last, "replicates_dense") - replicate_array(first, "replicates_dense")
        lower = np.append(interval(rise_cb)[0], interval(group_means(rise_cb, np.array([len(rise_cb)])))[0])
        names = [("none", name) for name in last["category"]] + [("mean", None)]
        for (aggregate, category), lo in zip(names, lower, strict=True):
            answers[model, layer, level, aggregate, category] = above(float(lo), 0.0)
    return answers


def _runs_agree(model_seeds: pl.DataFrame) -> dict[tuple[Any, ...], bool | None]:
    rows = model_seeds.filter(pl.col("control_id") == "none")
    keys = ("model", "category_level", "aggregate", "category")
    return {tuple(row[name] for name in keys): row["signs_agree"] for row in rows.iter_rows(named=True)}
