"""Bootstrap nested in SAE seeds: every replicate draws texts, and draws the seeds of its mean.

All seeds of a cell are measured on the same texts, and each seed has its own latents. A part of the difference between
two seeds is therefore noise of the texts, which the bootstrap over texts already includes. Drawing seeds without
correction would count this noise twice, as in Owen's pigeonhole bootstrap (Annals of Applied Statistics 1, 2007). Here
the deviations of seeds are shrunk to the part that texts do not explain. The factor is common to all categories of a
cell: for a single category it would be estimated from R seeds only.

Shape suffixes: r rows, g groups of rows (a row per seed), q seeds, b bootstrap replicates.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emergence_assets.emergence.presence.replicates import group_means, group_starts

Floats = NDArray[np.float64]


def nested_means(
    replicates_rb: NDArray[np.floating],
    values_r: NDArray[np.floating],
    n_seeds_g: NDArray[np.integer],
    cells: Sequence[tuple[object, ...]],
    kinds: Sequence[tuple[object, ...]],
) -> Floats:
    """Average the seeds of each group of consecutive rows, with seeds drawn anew in every replicate.

    Args:
        replicates_rb: replicates over texts with the SAE held fixed, AUROC.
        values_r: estimates of the rows.
        n_seeds_g: rows per group; with one seed the replicates are unchanged.
        cells: model, step and layer of each group. Groups of one cell draw the same seeds, since they are measured on
            the same SAEs; cells draw independently (measured in `docs/method.md`).
        kinds: control and level of each group. The shrinkage factor is common to a cell and kind.

    Returns:
        Groups × replicates, clipped to [0, 1].
    """
    mean_gb = group_means(replicates_rb, n_seeds_g)
    if n_seeds_g.max(initial=1) == 1:
        return mean_gb
    values = np.asarray(values_r, dtype=np.float64)
    deviation_r = values - np.repeat(group_means(values[:, None], n_seeds_g)[:, 0], n_seeds_g)
    between_g = _variance(deviation_r, n_seeds_g)
    number = {key: i for i, key in enumerate(dict.fromkeys(zip(cells, kinds, strict=True)))}
    block_g = np.array([number[key] for key in zip(cells, kinds, strict=True)])
    total = np.bincount(block_g, between_g)
    excess = total - np.bincount(block_g, _variance_from_texts(replicates_rb, mean_gb, n_seeds_g))
    kept = np.sqrt(np.divide(np.maximum(excess, 0), total, out=np.zeros_like(total), where=total > 0))
    drawn: dict[tuple[object, ...], Floats] = {}
    for group, (cell, start, n) in enumerate(zip(cells, group_starts(n_seeds_g), n_seeds_g, strict=True)):
        if (*cell, n) not in drawn:
            drawn[*cell, n] = seed_draws(cell, int(n), replicates_rb.shape[1])
        mean_gb[group] += kept[block_g[group]] * (deviation_r[start : start + n] @ drawn[*cell, n])
    return np.clip(mean_gb, 0, 1)


def seed_draws(cell: Sequence[object], n_seeds: int, n_boot: int) -> Floats:
    """Return the weight of each seed's deviation in the mean of every replicate, seeds × replicates.

    R seeds are drawn with replacement. The distance of their mean from the mean of all seeds is multiplied by
    sqrt(R / (R - 1)), because the mean of R seeds drawn with replacement has only (R - 1) / R of the variance of the
    mean of R seeds (half, with two seeds). With one seed all weights are 0. Draws depend only on the arguments.

    Args:
        cell: identity of the cell: model, step, layer.
        n_seeds: SAE seeds of the cell.
        n_boot: replicates.
    """
    if n_seeds == 1:
        return np.zeros((1, n_boot))
    rng = np.random.default_rng(list(hashlib.sha256("/".join(map(str, cell)).encode()).digest()))
    counts = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), n_boot).T
    return np.sqrt(n_seeds / (n_seeds - 1)) * (counts - 1) / n_seeds


def _variance(deviation_r: Floats, n_seeds_g: NDArray[np.integer]) -> Floats:
    """Return the variance between the seeds of each group; 0 for one seed."""
    return np.add.reduceat(deviation_r**2, group_starts(n_seeds_g)) / np.maximum(n_seeds_g - 1, 1)


def _variance_from_texts(
    replicates_rb: NDArray[np.floating], mean_gb: Floats, n_seeds_g: NDArray[np.integer]
) -> Floats:
    """Return the variance between seeds expected from the drawing of texts alone, without undefined replicates."""
    apart_rb = replicates_rb - np.repeat(mean_gb, n_seeds_g, axis=0)
    known = np.isfinite(apart_rb)
    n_known = np.maximum(known.sum(axis=1), 1)
    apart_rb = np.where(known, apart_rb, 0)
    variance_r = (apart_rb**2).sum(axis=1) / n_known - (apart_rb.sum(axis=1) / n_known) ** 2
    return _variance(np.sqrt(np.maximum(variance_r, 0)), n_seeds_g)
