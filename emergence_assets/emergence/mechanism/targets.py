"""Targets of the mechanism of a return: measured latents, and other latents that are changed as controls.

A target is a category and SAE seed with the best latents (chosen on split select, as for presence) of its late and
early layer. Controls are early latents that fire on as many of the category's texts on split select.

Shape suffixes: p texts, n latents, v changes of a target.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.mechanism.causal_dependence import equally_frequent
from emergence_assets.emergence.mechanism.forward_pass import Target
from emergence_assets.emergence.mechanism.layers import THIRDS
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels

ZERO, RESAMPLE, FIRST_CONTROL = 0, 1, 2
"""Order of a target's changes: ablation, resampling from another text, then ablation of the controls."""


def mechanism_targets(
    chosen: pl.DataFrame,
    cells: pl.DataFrame,
    codes: Mapping[tuple[int, int], Codes],
    labels: Labels,
    n_controls: int,
    seed: int,
) -> list[Target]:
    """Return the targets: every category and SAE seed with an early and a late latent.

    Args:
        chosen: result of `mechanism_layers`.
        cells: rows of `presence_cells` of one checkpoint and level: category, layer, sae_seed, latent.
        codes: codes of all probe texts by (early layer, seed).
        labels: labels of all probe texts.
        n_controls: control latents per target.
        seed: seed of the choice of texts that donate resampled values.
    """
    latent_of = {
        (category, layer, sae_seed): latent
        for category, layer, sae_seed, latent in cells.select("category", "layer", "sae_seed", "latent").iter_rows()
        if latent is not None
    }
    seeds = sorted({sae_seed for _, _, sae_seed in latent_of})
    select, score = labels.rows(select=True), labels.rows(select=False)
    targets = []
    for row in chosen.iter_rows(named=True):
        category = labels.categories.index(row["category"])
        own_select = select[labels.codes_p[select] == category]
        donors = _donors(labels.codes_p[score] == category, np.random.default_rng([seed, category]))
        for sae_seed in seeds:
            early = latent_of.get((row["category"], row["early_layer"], sae_seed))
            late = latent_of.get((row["category"], row["late_layer"], sae_seed))
            if early is None or late is None:
                continue
            known = codes[row["early_layer"], sae_seed]
            controls = equally_frequent(_firing_rates(known, own_select), early, n_controls)
            if not len(controls):
                continue
            latents_v = np.array([early, early, *np.resize(controls, n_controls)])
            new_vp = np.zeros((len(latents_v), len(score)), np.float32)
            new_vp[RESAMPLE] = _values_of(known, early)[score][donors]
            layers = [int(row[f"{name}_layer"]) for name in THIRDS]
            targets.append(Target(category, sae_seed, layers[0], layers[1], layers[2], late, latents_v, new_vp))
    return targets


def _donors(is_own_p: NDArray[np.bool_], draw: np.random.Generator) -> NDArray[np.intp]:
    """Draw for every text a text of another category."""
    return draw.choice(np.flatnonzero(~is_own_p), len(is_own_p))


def _firing_rates(codes: Codes, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    return codes.entries(rows).n_active_n / max(len(rows), 1)


def _values_of(codes: Codes, latent: int) -> NDArray[np.float32]:
    return np.where(codes.indices_pk == latent, codes.values_pk, 0).sum(axis=1)
