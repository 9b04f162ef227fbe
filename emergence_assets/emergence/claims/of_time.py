"""Claims about training: that a category emerges, and its half-rise step."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.emergence.claims.claim import (
    Claim,
    above,
    below,
    seeds_agree,
    subject,
)
from emergence_assets.emergence.claims.grading import Control
from emergence_assets.emergence.presence.replicates import group_means, replicate_array
from emergence_assets.features.statistics.formulas import interval

MUST_BEAT = ("label_shuffle", "label_shuffle_within_length", "reinit_full", "reinit_keep_embed", "random_encoder")
"""Controls of `category_controls` that presence must exceed; they stand for chance, text length, architecture and
untrained dictionaries."""
SHOULD_BEAT = ("dict_gauss", "dict_frozen_decoder", "text_wordshuffle", "bow")
"""Controls that keep a claim from grade A: presence that does not exceed them may be due to single words, or to
directions that any decoder has."""
_KEYS = ("model", "layer", "category_level", "aggregate", "category")


def claims_of_time(
    time: pl.DataFrame,
    controls: pl.DataFrame,
    presence: pl.DataFrame,
    model_seeds: pl.DataFrame,
    broken_checkpoints: Mapping[str, int],
) -> list[Claim]:
    """Make two claims per model and category (or mean over a level): emergence, and the half-rise step.

    Args:
        time: `emergence_over_time`.
        controls: `category_controls`.
        presence: `category_presence`; source of the control `dense`: whether the dense probe rises too.
        model_seeds: `model_seeds`; empty if no model has a second training run.
        broken_checkpoints: number of checkpoints per model with a status other than `ok`.
    """
    best = time.filter(pl.col("layer_choice") == "best", pl.col("control_id") == "none")
    rows, net = (best.filter(pl.col("metric") == metric) for metric in ("p_best", "net"))
    net_rises = {tuple(row[name] for name in _KEYS): row for row in net.iter_rows(named=True)}
    beaten = _beaten(controls)
    dense = _dense_rises(presence, rows)
    runs = _runs_agree(model_seeds)
    claims = []
    for row in rows.iter_rows(named=True):
        key = tuple(row[name] for name in _KEYS)
        net_rise = net_rises.get(key, {})
        evidence = (
            Control("step0", above(row["amp_lo"], 0.0)),
            Control("net_rise", above(net_rise.get("amp_lo"))),
            Control("fdr", below(row["q_emerged"])),
            Control("sae_seed", seeds_agree(row["n_seeds_agree"], row["n_seeds"])),
            Control("checkpoints", broken_checkpoints.get(row["model"], 0) == 0, must=False),
            *(Control(name, beaten.get((*key, name))) for name in MUST_BEAT),
            *(Control(name, beaten.get((*key, name)), must=False) for name in SHOULD_BEAT),
            Control("dense", dense.get(key), must=False),
            Control("model_seed", runs.get((row["model"], *key[2:])), must=False),
        )
        claims.append(_emergence(row, net_rise.get("amp"), evidence))
        if row["passes_gate"]:
            claims.append(_timing(row, evidence))
    return claims


def _emergence(row: Mapping[str, Any], net_rise: float | None, evidence: Iterable[Control]) -> Claim:
    return Claim(
        kind="emergence",
        statement=_emergence_statement(row, net_rise),
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
        statement=f"In {row['model']}, half of the rise in presence of {subject(row)} is reached by "
        f"{_step(row['half_step'])}.",
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


def _emergence_statement(row: Mapping[str, Any], net_rise: float | None) -> str:
    """State what is measured: a better best latent. That it is specific to the category is not tested."""
    rise = "an unknown rise" if row["amp"] is None else f"a rise of {row['amp']:.2f}"
    part = "" if net_rise is None else f", {net_rise:.2f} of it net of random directions"
    where = f"layer {row['layer']}, by step {row['step_last']:,}"
    return (
        f"In {row['model']}, the best latent separates texts of {subject(row)} better after training than before, "
        f"by more than random directions do ({rise} in AUROC{part}; {where})."
    )


def _step(value: float | None) -> str:
    return "an unknown step" if value is None else f"step {value:,.0f}"


def _beaten(controls: pl.DataFrame) -> dict[tuple[Any, ...], bool | None]:
    """Return by key and control whether the whole interval of presence minus control is above 0."""
    return {
        (*(row[name] for name in _KEYS), row["control_id"]): above(row["above_control_lo"], 0.0)
        for row in controls.select(*_KEYS, "control_id", "above_control_lo").iter_rows(named=True)
    }


def _dense_rises(presence: pl.DataFrame, rows: pl.DataFrame) -> dict[tuple[Any, ...], bool | None]:
    """Return by key whether the whole interval of the dense probe's rise in AUROC since step 0 is above 0."""
    wanted = rows.select("model", "layer", "category_level").unique()
    measured = presence.filter(pl.col("control_id") == "none").join(wanted, on=wanted.columns, how="semi")
    ends = measured.filter((pl.col("step") == 0) | (pl.col("step") == pl.col("step").max().over("model")))
    rises: dict[tuple[Any, ...], bool | None] = {}
    for (model, layer, level), part in ends.group_by("model", "layer", "category_level", maintain_order=True):
        first, last = (part.filter(pl.col("step") == step).sort("category") for step in (0, part["step"].max()))
        if first["category"].to_list() != last["category"].to_list() or last["step"].max() == 0:
            continue
        rise_cb = replicate_array(last, "replicates_dense") - replicate_array(first, "replicates_dense")
        lower = np.append(interval(rise_cb)[0], interval(group_means(rise_cb, np.array([len(rise_cb)])))[0])
        names = [("none", name) for name in last["category"]] + [("mean", None)]
        for (aggregate, category), lo in zip(names, lower, strict=True):
            rises[model, layer, level, aggregate, category] = above(float(lo), 0.0)
    return rises


def _runs_agree(model_seeds: pl.DataFrame) -> dict[tuple[Any, ...], bool | None]:
    rows = model_seeds.filter(pl.col("control_id") == "none")
    keys = ("model", "category_level", "aggregate", "category")
    return {tuple(row[name] for name in keys): row["signs_agree"] for row in rows.iter_rows(named=True)}
