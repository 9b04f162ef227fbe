"""Headline numbers: the rise of presence with training, and the controls."""

from typing import Any

import numpy as np
import polars as pl

from emergence_assets.emergence.presence.net import RANDOM, net_presence
from emergence_assets.emergence.presence.replicates import group_means, replicate_array
from emergence_assets.emergence.presence.table import HEADLINE
from emergence_assets.features.statistics.formulas import estimate

STRONG = 0.75
"""Smallest AUROC of a strongly present category."""


def headline(presence: pl.DataFrame) -> pl.DataFrame:
    """Return one row per (model, level, control): means over categories and layers, first and last checkpoint.

    A layer missing at one of the two checkpoints is left out, and so is the embedding (layer -1): with one fixed
    read-out token it is the same vector for every text.

    * p_first: the untrained model if step_first is 0. rise: p_last - p_first, with a paired interval.
    * p_random_first, p_random_last: means of p_random. net_rise: the part of the rise that random encoders do not have,
      with a paired interval. Null in rows of other controls.
    * n_own_*: number of categories with a latent of their own (own_share of `category_presence`), counted per layer and
      averaged over layers and SAE seeds; n_own_random_*: the same in random encoders.
    * n_strong_*: number of categories with p_best >= 0.75, counted per layer and averaged over layers.
    * p_shuffle*: AUROC under permuted labels: mean over all steps, layers and categories, and the smallest and largest
      mean of a single cell.
    """
    blocks = presence.filter(pl.col("layer") >= 0)
    rows: list[dict[str, Any]] = []
    for part in blocks.partition_by(["model", "category_level", "control_id"], maintain_order=True):
        ends = [part.filter(pl.col("step") == step) for step in (part["step"].min(), part["step"].max())]
        # In an unfinished study the two checkpoints may have different layers: only common layers are compared.
        both = set(ends[0]["layer"]) & set(ends[1]["layer"])
        if not both:
            continue
        first, last = ends = [end.filter(pl.col("layer").is_in(both)) for end in ends]
        first_b, last_b = (group_means(replicate_array(end), np.array([end.height]))[0] for end in ends)
        one = part.row(0, named=True)
        rows.append(
            {
                **{key: one[key] for key in ("model", "n_params_nonemb", "category_level", "control_id")},
                "n_categories": part["category"].n_unique(),
                "n_layers_read": len(both),
                "step_first": part["step"].min(),
                "step_last": part["step"].max(),
                **estimate("p_first", first["p_best"].mean(), first_b),
                **estimate("p_last", last["p_best"].mean(), last_b),
                **estimate("rise", _mean(last) - _mean(first), last_b - first_b),
                **_net_rise(blocks, first, last),
                "n_own_first": _n_own(first),
                "n_own_last": _n_own(last),
                "n_strong_first": _n_strong(first),
                "n_strong_last": _n_strong(last),
                "p_dense_first": first["p_dense"].mean(),
                "p_dense_last": last["p_dense"].mean(),
                "p_bow": part["p_bow"].mean(),
            }
        )
    shuffled = (
        blocks.filter(pl.col("control_id") == "label_shuffle")
        .group_by("model", "category_level", "step", "layer", maintain_order=True)
        .agg(pl.col("p_best").mean())
        .group_by("model", "category_level", maintain_order=True)
        .agg(
            p_shuffle=pl.col("p_best").mean(),
            p_shuffle_min=pl.col("p_best").min(),
            p_shuffle_max=pl.col("p_best").max(),
        )
    )
    known = {name: dtype for name, dtype in HEADLINE.schema.items() if not name.startswith("p_shuffle")}
    return (
        pl.DataFrame(rows, schema=known)
        .join(shuffled, on=["model", "category_level"], how="left")
        .select(pl.col(name).cast(dtype) for name, dtype in HEADLINE.schema.items())
        .sort("category_level", "control_id", "n_params_nonemb", "model")
    )


def _net_rise(presence: pl.DataFrame, first: pl.DataFrame, last: pl.DataFrame) -> dict[str, Any]:
    """Return the means of random encoders at both checkpoints, and the rise of net presence with its interval."""
    if first["control_id"][0] != "none":
        return {}
    at = ["model", "step", "layer", "category_level", "category"]
    random = presence.filter(pl.col("control_id") == RANDOM)
    ends = [net_presence(pl.concat([end, random.join(end, on=at, how="semi")])) for end in (first, last)]
    if any(end.is_empty() for end in ends):
        return {}
    before_b, after_b = (group_means(replicate_array(end), np.array([end.height]))[0] for end in ends)
    return {
        "p_random_first": ends[0]["p_random"].mean(),
        "p_random_last": ends[1]["p_random"].mean(),
        "n_own_random_first": _n_own(random.join(first, on=at, how="semi")),
        "n_own_random_last": _n_own(random.join(last, on=at, how="semi")),
        **estimate("net_rise", _mean(ends[1]) - _mean(ends[0]), after_b - before_b),
    }


def _mean(part: pl.DataFrame) -> float:
    return float(part["p_best"].to_numpy().mean(dtype=np.float64))


def _n_own(part: pl.DataFrame) -> float | None:
    """Sum the shares of dictionaries in which each category has a latent of its own, per layer."""
    return None if part["own_share"].is_null().all() else float(part["own_share"].sum() / part["layer"].n_unique())


def _n_strong(part: pl.DataFrame) -> float:
    return float((part["p_best"].to_numpy() >= STRONG).sum() / part["layer"].n_unique())
