"""Categories whose best latents are removed, the texts on which, and other latents that are removed as controls.

Shape suffixes: p texts, n latents.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.claims.claim import ALPHA
from emergence_assets.features.statistics.labels import Labels

_KEYS = ["category_level", "category", "layer"]


class Texts(NamedTuple):
    """Texts on which the removal of a category's latents is measured, as rows of the probe set."""

    own: NDArray[np.intp]
    other: NDArray[np.intp]


def risen_categories(emergence_over_time: pl.DataFrame) -> pl.DataFrame:
    """List the categories of a model whose presence and net presence rise at the level's best layer.

    These are the criteria of a claim of emergence without its further controls, which are not known yet: the rows of
    presence meet their criteria, and the net growth is above zero with its interval and with q < .05.

    Returns:
        Columns category_level, category and layer. Categories that are best at the embedding are left out: only the
        output of blocks is changed.
    """
    best = emergence_over_time.filter(pl.col("layer") >= 0, layer_choice="best", control_id="none", aggregate="none")
    rises = best.filter(pl.col("passes_gate"), metric="p_best").select(_KEYS)
    is_net = (pl.col("late_gain_lo") > 0) & (pl.col("q_emerged") < ALPHA)
    net = best.filter(is_net, metric="net").select(_KEYS)
    return rises.join(net, on=_KEYS, how="semi").sort(_KEYS)


def texts_of(labels: Labels, category: int, n_texts: int, n_other_texts: int, seed: int) -> Texts:
    """Draw texts of split score: of the category, and of all other categories of its level.

    Args:
        labels: labels of all probe texts at the level.
        category: index of the category.
        n_texts: largest number of texts of the category.
        n_other_texts: largest number of other texts.
        seed: seed of the draw.
    """
    score, draw = labels.rows(select=False), np.random.default_rng([seed, category])
    is_own_p = labels.codes_p[score] == category
    return Texts(
        *(
            np.sort(draw.permutation(score[where])[:limit])
            for where, limit in ((is_own_p, n_texts), (~is_own_p, n_other_texts))
        )
    )


def best_latents(rows: pl.DataFrame, numbers: Sequence[int]) -> Mapping[tuple[str, int], int]:
    """Return the best latent by (category, number) from rows of `presence_cells` of one layer, level and control.

    Args:
        rows: columns category, sae_seed, latent.
        numbers: SAE seeds or numbers of random encoders. Without a latent there is no entry.
    """
    found = rows.filter(pl.col("sae_seed").is_in(list(numbers))).drop_nulls("latent")
    return {
        (category, number): latent
        for category, number, latent in found.select("category", "sae_seed", "latent").iter_rows()
    }


def equally_strong(energy_n: NDArray[np.float64], latent: int, n_wanted: int) -> NDArray[np.intp]:
    """Return the other latents whose energy on the category's texts is nearest to that of `latent`, on a log scale.

    The removal of a latent takes its energy out of the residual stream (`losses.latent_energies`). A latent that is
    active as often, but weakly, would remove little; that of equal energy is active less often if it is stronger.

    Args:
        energy_n: energy of every latent.
        latent: the reference latent, itself left out. If it is silent, silent latents are as strong.
        n_wanted: number of latents; fewer are returned if fewer are active, or silent.
    """
    others = np.flatnonzero((energy_n > 0) == (energy_n[latent] > 0))
    others = others[others != latent]
    if not energy_n[latent] > 0:
        return others[:n_wanted]
    distance = np.abs(np.log(energy_n[others] / energy_n[latent]))
    return others[np.argsort(distance, kind="stable")[:n_wanted]]
