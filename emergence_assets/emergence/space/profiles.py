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
from emergence_assets.features.statistics.formulas import interval, mean_of_defined
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
    step0_select_sl: Floats
    """p_select at step 0; NaN if not measured."""
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
    def gain_select_sl(self) -> Floats:
        """The gain on split select, in AUROC units: for choices that must not depend on the scored texts."""
        return self.p_select_sl - self.step0_select_sl

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
    before = part.select(key).join(
        first.select(*key, "p_select", "p_best", "p_seeds", "replicates"), on=key, how="left", maintain_order="left"
    )
    groups = _means_of(own)
    n_boot, n_seeds = replicate_array(part).shape[1], int(part["n_seeds"].to_numpy().max())

    def array(frame: pl.DataFrame, column: str, length: int | None = None) -> Floats:
        """Return a column, of lists of at most this length, as an array over series and layers."""
        values = frame[column].to_numpy().astype(np.float64) if length is None else _lists(frame, column, length)
        return _with_means(values.reshape(own.height, len(layers), *values.shape[1:]), groups)

    replicates_slb = array(part, "replicates", n_boot)
    means = own[[int(rows[0]) for rows in groups]].with_columns(
        aggregate=pl.lit("mean"), category=pl.lit(None, dtype=pl.String)
    )
    kept = [*_CHECKPOINT, "control_id", "aggregate", "category_level", "category", "n_seeds"]
    return Profiles(
        pl.concat([own.with_columns(aggregate=pl.lit("none")).select(kept), means.select(kept)]),
        layers,
        (layers + 1) / int(part["n_layers"][0]),
        array(part, "p_select"),
        array(part, "p_best"),
        array(before, "p_best"),
        array(before, "p_select"),
        array(part, "p_dense"),
        replicates_slb,
        array(part, "replicates_dense", n_boot),
        replicates_slb - array(before, "replicates", n_boot),
        array(part, "p_seeds", n_seeds) - array(before, "p_seeds", n_seeds),
    )


def _means_of(own: pl.DataFrame) -> list[NDArray[np.int64]]:
    """Return the groups of rows to average: one group per control and level."""
    numbered = own.with_row_index("row").group_by("control_id", "category_level", maintain_order=True)
    return [rows.to_numpy().astype(np.int64) for rows in numbered.agg("row")["row"]]


def _with_means(values: Floats, groups: list[NDArray[np.int64]]) -> Floats:
    """Append the mean of each group to the series; undefined values of single categories are left out of the mean."""
    return np.concatenate([values, np.stack([mean_of_defined(values[rows], 0) for rows in groups])])


def _lists(frame: pl.DataFrame, column: str, length: int) -> Floats:
    """Return a list column as an array, rows × length; NaN where a list is shorter or null.

    Random encoders and SAEs may differ in number, so that lists of seeds do.
    """
    lists = frame[column].fill_null(pl.Series([[]], dtype=pl.List(pl.Float32)))
    n_values = lists.list.len().to_numpy()
    array = np.full((frame.height, length), np.nan)
    array[np.arange(length) < n_values[:, None]] = lists.explode().drop_nulls().to_numpy()
    return array


def defined_estimate(name: str, value_s: Floats, replicates_sb: Floats) -> dict[str, Floats]:
    """Return a column with its interval; the interval of an undefined value is undefined."""
    lo, hi = np.where(np.isnan(value_s), np.nan, interval(replicates_sb))
    return {name: value_s, f"{name}_lo": lo, f"{name}_hi": hi}
