"""Claims about training: that a category emerges, and its half-rise step."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.emergence.claims.claim import SEEDS_NEEDED, Claim, above, below, seeds_agree, subject
from emergence_assets.emergence.claims.grading import Control
from emergence_assets.emergence.presence.net import RANDOM
from emergence_assets.emergence.presence.replicates import group_means, replicate_array
from emergence_assets.features.statistics.formulas import interval

MUST_BEAT = ("label_shuffle", "label_shuffle_within_length", "reinit_keep_embed")
"""Controls of `category_controls` that presence must exceed: chance, text length and architecture."""
SHOULD_BEAT = ("dict_gauss", "dict_frozen_decoder", "best_word")
"""Controls that keep a claim from grade A: dictionaries without structure of the rows or without a trained decoder,
and the best single word."""
_KEYS = ("model", "layer", "category_level", "aggregate", "category")
_Key = tuple[Any, ...]


@dataclass(frozen=True)
class _Evidence:
    """Sources of the controls, by key of a row."""

    net: Mapping[_Key, Mapping[str, Any]]
    """Rows of `emergence_over_time` about net presence."""
    beaten: Mapping[_Key, bool | None]
    """By key and control."""
    dense_rises: Mapping[_Key, bool | None]
    owned: Mapping[_Key, bool | None]
    grows: Mapping[_Key, bool | None]
    """Whether net presence has risen, by model, level, aggregate and category."""
    runs: Mapping[str, tuple[str, ...]]
    """Training runs of a model, by each of them."""
    broken_checkpoints: Mapping[str, int]

    def controls(self, row: Mapping[str, Any]) -> tuple[Control, ...]:
        """Return the controls of a rise."""
        key, net = _key(row), self.net.get(_key(row), {})
        return (
            Control("step0", above(row["late_gain_lo"])),
            Control("random_encoder", above(net.get("late_lo"))),
            Control("net_rise", above(net.get("late_gain_lo"))),
            Control("fdr", below(net.get("q_emerged"))),
            Control("sae_seed", seeds_agree(net.get("n_seeds_agree"), net.get("n_seeds"))),
            *(Control(name, self.beaten.get((*key, name))) for name in MUST_BEAT),
            *(Control(name, self.beaten.get((*key, name)), must=False) for name in SHOULD_BEAT),
            Control("own_latent", self.owned.get(key), must=False),
            Control("checkpoints", self.broken_checkpoints.get(row["model"], 0) == 0, must=False),
            Control("model_seed", self._holds_in_all_runs(row), must=False),
        )

    def findings(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Describe what the words of the texts and the read-out show of the category; no reason for or against it."""
        key = _key(row)
        answers = (
            (self.beaten.get((*key, "bow")), "", "the bag of words separates it better"),
            (self.beaten.get((*key, "text_wordshuffle")), "word order matters", "no effect of word order is shown"),
            (self.dense_rises.get(key), "the dense probe rises too", "no rise of the dense probe is shown"),
        )
        found = (yes if answer else no for answer, yes, no in answers if answer is not None)
        return tuple(text for text in found if text)

    def _holds_in_all_runs(self, row: Mapping[str, Any]) -> bool | None:
        """Return whether net presence grows in every other training run of the model, at that run's best layer."""
        model, _, *what = _key(row)
        others = [self.grows.get((run, *what)) for run in self.runs.get(model, ()) if run != model]
        return None if not others or None in others else all(others)


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
        presence: `category_presence`; source of the finding whether the dense probe rises too, and of the control
            `own_latent`.
        model_seeds: `model_seeds`; empty if no model has a second training run.
        broken_checkpoints: number of checkpoints per model with a status other than `ok`.
    """
    best = time.filter(pl.col("layer_choice") == "best", pl.col("control_id") == "none")
    rows, net = (best.filter(pl.col("metric") == metric) for metric in ("p_best", "net"))
    evidence = _Evidence(
        {_key(row): row for row in net.iter_rows(named=True)},
        _beaten(controls),
        _dense_rises(presence, rows),
        _owned(presence),
        {(row["model"], *_key(row)[2:]): row["passes_gate"] for row in net.iter_rows(named=True)},
        _runs(model_seeds),
        broken_checkpoints,
    )
    claims = []
    for row in rows.iter_rows(named=True):
        claims.append(_emergence(row, evidence))
        if row["passes_gate"]:
            claims.append(_timing(row, evidence))
    return claims


def _emergence(row: Mapping[str, Any], evidence: _Evidence) -> Claim:
    """State what is measured: a better best latent. The estimate is its net growth."""
    net = evidence.net.get(_key(row), {})
    growth = "net growth unknown" if net.get("late_gain") is None else f"net growth {net['late_gain']:.2f} in AUROC"
    rise = "an unknown rise" if row["late_gain"] is None else f"a rise of {row['late_gain']:.2f}"
    return Claim(
        kind="emergence",
        statement=f"In {row['model']}, the best latent separates texts of {subject(row)} better after training than "
        f"before, by more than random directions do ({growth}, part of {rise}; layer {row['layer']}, last checkpoints "
        f"to step {row['step_last']:,}).",
        estimate=net.get("late_gain"),
        interval=(net.get("late_gain_lo"), net.get("late_gain_hi")),
        unit="AUROC, net",
        q=net.get("q_emerged"),
        passes_gate=row["passes_gate"],
        controls=evidence.controls(row),
        findings=evidence.findings(row),
        inputs=_inputs(row["model"]),
        figure="presence_over_time" if row["category"] is None else "gain_by_category",
        **_where(row),
    )


def _timing(row: Mapping[str, Any], evidence: _Evidence) -> Claim:
    model_free, lo, hi = row["half_step_interp"], row["half_step_lo"], row["half_step_hi"]
    agrees = None if None in (model_free, lo, hi) else lo <= model_free <= hi
    more: Iterable[Control] = (
        Control("interpolation", agrees, must=False),
        Control("complete_rise", row["censor"] == "none", must=False),
    )
    return Claim(
        kind="timing",
        statement=f"In {row['model']}, half of the rise in presence of {subject(row)} by step {row['step_last']:,} is "
        f"reached by {_step(row['half_step'])}.",
        estimate=row["half_step"],
        interval=(lo, hi),
        unit="step",
        q=row["q_emerged"],
        passes_gate=row["is_dated"],
        controls=(*evidence.controls(row), *more),
        findings=evidence.findings(row),
        inputs=_inputs(row["model"]),
        figure="half_steps_by_category" if row["category"] else "presence_over_time",
        **_where(row),
    )


def _key(row: Mapping[str, Any]) -> _Key:
    return tuple(row[name] for name in _KEYS)


def _where(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("model", "category_level", "category", "layer")} | {"step": row["step_last"]}


def _inputs(model: str) -> tuple[str, ...]:
    return tuple(f"{name} {model}" for name in ("emergence_over_time", "category_controls", "category_presence"))


def _step(value: float | None) -> str:
    return "an unknown step" if value is None else f"step {value:,.0f}"


def _beaten(controls: pl.DataFrame) -> dict[_Key, bool | None]:
    """Return by key and control whether presence is above the control: with its whole interval, and with q < 0.05."""
    return {
        (*_key(row), row["control_id"]): (
            None if row["q"] is None else bool(above(row["above_control_lo"]) and below(row["q"]))
        )
        for row in controls.select(*_KEYS, "control_id", "above_control_lo", "q").iter_rows(named=True)
    }


def _dense_rises(presence: pl.DataFrame, rows: pl.DataFrame) -> dict[_Key, bool | None]:
    """Return by key whether the whole interval of the dense probe's rise in AUROC since step 0 is above 0."""
    wanted = rows.select("model", "layer", "category_level").unique()
    measured = presence.filter(pl.col("control_id") == "none").join(wanted, on=wanted.columns, how="semi")
    ends = measured.filter((pl.col("step") == 0) | (pl.col("step") == pl.col("step").max().over("model")))
    rises: dict[_Key, bool | None] = {}
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


def _owned(presence: pl.DataFrame) -> dict[_Key, bool | None]:
    """Return by key whether a category has a latent of its own at the last step (see `category_presence`).

    It does if two thirds of the SAE seeds have one, and a larger share than of the random encoders. The mean over a
    level asks for the second alone.
    """
    last = presence.filter(pl.col("step") == pl.col("step").max().over("model"))
    at = ["model", "layer", "category_level", "category"]
    real, random = (last.filter(pl.col("control_id") == control) for control in ("none", RANDOM))
    both = real.select(*at, "own_share").join(random.select(*at, in_random="own_share"), on=at, how="left")
    means = both.group_by(at[:-1], maintain_order=True).agg(pl.col("own_share", "in_random").mean())
    is_more = pl.col("own_share") > pl.col("in_random")
    each = both.with_columns(owned=is_more & (pl.col("own_share") >= SEEDS_NEEDED), aggregate=pl.lit("none"))
    mean = means.with_columns(owned=is_more, aggregate=pl.lit("mean"), category=pl.lit(None, pl.String))
    return {
        _key(row): row["owned"] for part in (each, mean) for row in part.select(*_KEYS, "owned").iter_rows(named=True)
    }


def _runs(model_seeds: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return the training runs of each model that has several, under the name of each run."""
    groups = {tuple(run["model"] for run in runs) for runs in model_seeds["runs"].to_list()}
    return {run: group for group in sorted(groups) for run in group}
