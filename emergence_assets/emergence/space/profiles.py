"""Profiles over depth: presence of every series of one checkpoint as arrays, series × layers.

Every layer has its own SAEs, so that a comparison of layers also compares SAEs. Replicates therefore draw SAE seeds
layer by layer (`seed_draws.py`).

Shape suffixes: s series, l layers, k SAE seeds, b bootstrap replicates, r rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.presence.replicates import replicate_array
from resources.errors import EmergenceError

SERIES = ("control_id", "category_level", "category")
_CHECKPOINT = ("model", "n_params_nonemb", "step", "tokens_seen", "n_layers")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Profiles:
    """All series of one checkpoint: categories, and per control and level their mean (`aggregate` "mean")."""

    series: pl.DataFrame
    """Columns model, n_params_nonemb, step, tokens_seen, n_layers, control_id, aggregate, category_level, category,
    n_seeds; one row per series."""
    layers: NDArray[np.int64]
    """Layers of the study, ascending; -1 is the embedding."""
    depth_l: Floats
    """Relative depth, (layer + 1) / n_layers."""
    p_select_sl: Floats
    p_best_sl: Floats
    step0_sl: Floats
    """p_best at step 0; NaN if not measured."""
    dense_sl: Floats
    p_best_slb: Floats
    """Replicates over texts and SAE seeds."""
    dense_slb: Floats
    """Replicates over texts; NaN for controls, which have no replicates of the dense probe."""
    gain_slb: Floats
    """Replicates of the gain over texts and SAE seeds."""
    gain_slk: Floats
    """Gain of every SAE seed."""

    @property
    def gain_sl(self) -> Floats:
        """p_best - p_step0, in AUROC units."""
        return self.p_best_sl - self.step0_sl

    @property
    def compared_l(self) -> NDArray[np.bool_]:
        """Layers with a known gain, without the embedding."""
        return (self.layers >= 0) & np.isfinite(self.gain_sl).all(axis=0)


def depth_profiles(presence: pl.DataFrame) -> Iterator[Profiles]:
    """Yield the profiles of every checkpoint in `category_presence`, by model and step.

    Raises:
        EmergenceError: the categories of a checkpoint were not all measured in the same layers.
    """
    for model in presence.partition_by("model", maintain_order=True):
        first = model.filter(pl.col("step") == 0)
        for part in model.sort("step").partition_by("step", maintain_order=True):
            yield _of_checkpoint(part, first)


def _of_checkpoint(part: pl.DataFrame, first: pl.DataFrame) -> Profiles:
    part = part.sort([*SERIES, "layer"])
    layers = part["layer"].unique().sort().to_numpy().astype(np.int64)
    own = part.unique(SERIES, keep="first", maintain_order=True)
    if own.height * len(layers) != part.height:
        raise EmergenceError(
            "the categories were not all measured in the same layers",
            where="model {}, step {}".format(*part.select("model", "step").row(0)),
            remedy="Materialise every layer of the checkpoint with one probe set.",
        )
    key = [*SERIES, "layer"]
    columns = ("p_best", "p_seeds", "replicates")
    before = part.select(key).join(first.select(*key, *columns), on=key, how="left", maintain_order="left")
    shape = (own.height, len(layers))
    groups = _means_of(own)
    arrays = [
        *(part[name].to_numpy().astype(np.float64) for name in ("p_select", "p_best")),
        *(frame["p_best"].to_numpy().astype(np.float64) for frame in (before,)),
        part["p_dense"].to_numpy().astype(np.float64),
        replicate_array(part),
        _lists(before, "replicates", replicate_array(part).shape[1]),
        _lists(part, "replicates_dense", replicate_array(part).shape[1]),
        _lists(part, "p_seeds", int(part["n_seeds"][0])),
        _lists(before, "p_seeds", int(part["n_seeds"][0])),
    ]
    with_means = [_with_means(array.reshape(*shape, *array.shape[1:]), groups) for array in arrays]
    p_select, p_best, step0, dense, p_slb, step0_slb, dense_slb, seeds_slk, seeds0_slk = with_means
    means = own[[int(rows[0]) for rows in groups]].with_columns(
        aggregate=pl.lit("mean"), category=pl.lit(None, dtype=pl.String)
    )
    kept = [*_CHECKPOINT, "control_id", "aggregate", "category_level", "category", "n_seeds"]
    return Profiles(
        pl.concat([own.with_columns(aggregate=pl.lit("none")).select(kept), means.select(kept)]),
        layers,
        (layers + 1) / int(part["n_layers"][0]),
        p_select,
        p_best,
        step0,
        dense,
        p_slb,
        dense_slb,
        p_slb - step0_slb,
        seeds_slk - seeds0_slk,
    )


def _means_of(own: pl.DataFrame) -> list[NDArray[np.int64]]:
    """Return the groups of rows to average: one group per control and level."""
    numbered = own.with_row_index("row").group_by("control_id", "category_level", maintain_order=True)
    return [rows.to_numpy().astype(np.int64) for rows in numbered.agg("row")["row"]]


def _with_means(values: Floats, groups: list[NDArray[np.int64]]) -> Floats:
    """Append the mean of each group to the series; undefined values of single categories are left out of the mean."""
    means = []
    for rows in groups:
        part = values[rows]
        known = np.isfinite(part)
        total, count = np.where(known, part, 0).sum(axis=0), known.sum(axis=0)
        means.append(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))
    return np.concatenate([values, np.stack(means)])


def _lists(frame: pl.DataFrame, column: str, length: int) -> Floats:
    """Return a list column as an array, rows × length; NaN for a null list."""
    empty = [float("nan")] * length
    filled = frame.select(pl.col(column).fill_null(pl.lit(empty, dtype=pl.List(pl.Float32))))
    lengths = filled[column].list.len().unique().to_list()
    if lengths != [length]:
        raise EmergenceError(
            f"{column} has {', '.join(map(str, sorted(lengths)))} values per row, not {length}",
            remedy="Rematerialise the cells with the same settings.",
        )
    return filled[column].explode().to_numpy().astype(np.float64).reshape(frame.height, length)
