"""Utility of every checkpoint of a model, with joint bootstrap replicates.

Shape suffixes: s steps, c categories, b bootstrap replicates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.presence.presence import TRIVIAL
from emergence_assets.emergence.presence.replicates import (
    MARGIN,
    best_layers,
    replicate_array,
    require_same_texts,
    with_step0,
)
from emergence_assets.features.statistics.formulas import interval, mean_of_defined
from resources.errors import EmergenceError

FLOPS_PER_PARAMETER_AND_TOKEN = 6
"""Forward and backward pass of a dense decoder (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)."""
_SERIES = ["model", "category_level", "control_id"]


@dataclass(frozen=True, eq=False)
class UtilitySeries:
    """One model, level and control along its checkpoints, in order of steps."""

    model: str
    n_params_nonemb: int
    category_level: str
    control_id: str
    step_s: NDArray[np.int64]
    tokens_s: NDArray[np.int64]
    layer_s: NDArray[np.int64]
    """Best layer of each checkpoint, chosen on split select."""
    excess_s: NDArray[np.float64]
    """Mean excess over categories; NaN without step 0."""
    excess_sb: NDArray[np.float64]
    is_present_sc: NDArray[np.bool_]
    """Whether a category's gain is at least 0.05 with a lower bound above 0."""
    is_present_scb: NDArray[np.bool_]
    """Whether a category is present in each replicate, with the replicate's gain in place of the estimate."""

    @property
    def flops_s(self) -> NDArray[np.float64]:
        """Training compute, 6 N D."""
        return FLOPS_PER_PARAMETER_AND_TOKEN * float(self.n_params_nonemb) * self.tokens_s.astype(np.float64)

    @property
    def n_final_present(self) -> int:
        """Number of categories present at the last checkpoint."""
        return int(self.is_present_sc[-1].sum())

    def share_of_final(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the share of the finally present categories that are present at each checkpoint: estimate, replicates.

        The share is NaN if no category is present at the end. Every replicate has its own set of final categories.
        """
        return _share(self.is_present_sc[:, :, None])[:, 0], _share(self.is_present_scb)


def _share(is_present_scb: NDArray[np.bool_]) -> NDArray[np.float64]:
    final_cb = is_present_scb[-1]
    kept_sb, n_final_b = (is_present_scb & final_cb).sum(axis=1), final_cb.sum(axis=0)
    share_sb = np.full(kept_sb.shape, np.nan)
    np.divide(kept_sb, n_final_b, out=share_sb, where=n_final_b > 0)
    return share_sb


def utility_series(presence: pl.DataFrame) -> Iterator[UtilitySeries]:
    """Yield every model, level and control of `category_presence` as a series over its checkpoints.

    A checkpoint is read at its own best layer (highest mean `p_select` of the level), so that later checkpoints do not
    change its utility. Excess is (p_best − p_step0) / (1 − p_step0) at that layer; it is undefined for categories with
    p_step0 >= 0.98. Layer -1 (the embedding) is left out.

    Raises:
        EmergenceError: cells were measured on different texts, or lack categories that others have.
    """
    blocks = presence.filter(pl.col("layer") >= 0)
    if blocks.is_empty():
        return
    require_same_texts(blocks)
    read = best_layers(blocks)
    at_best = [*read.columns]
    table = pl.concat(
        [
            blocks.join(read, on=at_best, how="semi").with_columns(is_read=pl.lit(True)),
            blocks.join(read, on=at_best, how="anti").filter(pl.col("step") == 0).with_columns(is_read=pl.lit(False)),
        ]
    ).sort([*_SERIES, "step", "layer", "category"])
    keys = ("model", "layer", "control_id", "category_level", "category")
    replicates_rb = replicate_array(table)
    p_best, p_step0, step0_rb = with_step0(table, keys, replicates_rb)
    numbered = table.select(
        *_SERIES, "n_params_nonemb", "step", "tokens_seen", "layer", "category", "is_read", row=pl.int_range(pl.len())
    )
    for part in numbered.filter("is_read").partition_by(_SERIES, maintain_order=True):
        rows = part["row"].to_numpy()
        yield _series(part, p_best[rows], p_step0[rows], replicates_rb[rows], step0_rb[rows])


def _series(
    part: pl.DataFrame,
    p_best: NDArray[np.float64],
    p_step0: NDArray[np.float64],
    replicates_rb: NDArray[np.float64],
    step0_rb: NDArray[np.float64],
) -> UtilitySeries:
    steps = part.unique("step", keep="first", maintain_order=True)
    n_steps, n_categories = steps.height, part["category"].n_unique()
    one = part.row(0, named=True)
    if part.height != n_steps * n_categories:
        raise EmergenceError(
            "checkpoints of a model have different categories",
            where=f"{one['model']}, level {one['category_level']}",
            remedy="Rematerialise the cells with one probe set.",
        )
    gain, gain_b = p_best - p_step0, replicates_rb - step0_rb
    lower = interval(gain_b)[0]
    is_present = (gain >= MARGIN) & (lower > 0)
    # The lower bound of a replicate is assumed as far below it as the lower bound of the estimate below the estimate.
    is_present_b = (gain_b >= MARGIN) & (gain_b > (gain - lower)[:, None])
    room = np.where(p_step0 < TRIVIAL, 1 - p_step0, np.nan)
    room_b = np.where(np.isfinite(room)[:, None] & (step0_rb < 1), 1 - step0_rb, np.nan)
    shape = (n_steps, n_categories)
    return UtilitySeries(
        **{key: one[key] for key in (*_SERIES, "n_params_nonemb")},
        step_s=steps["step"].to_numpy().astype(np.int64),
        tokens_s=steps["tokens_seen"].to_numpy().astype(np.int64),
        layer_s=steps["layer"].to_numpy().astype(np.int64),
        excess_s=mean_of_defined((gain / room).reshape(shape), 1),
        excess_sb=mean_of_defined((gain_b / room_b).reshape(*shape, -1), 1),
        is_present_sc=is_present.reshape(shape),
        is_present_scb=is_present_b.reshape(*shape, -1),
    )
