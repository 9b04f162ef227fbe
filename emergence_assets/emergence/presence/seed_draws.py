"""Bootstrap nested in SAE seeds: every replicate draws texts, and the deviation of a mean over seeds.

All seeds of a cell are measured on the same texts, and each seed has its own latents. A part of the difference between
two seeds is therefore noise of the texts, which the bootstrap over texts already includes. Drawing seeds without
correction would count this noise twice, as in Owen's pigeonhole bootstrap (Annals of Applied Statistics 1, 2007). Here
the variance of a seed is what texts do not explain, pooled over the categories of a cell: for a single category it
would rest on R seeds, and where two seeds agree by luck the interval would be too short. Deviations are independent
between categories and between cells (both measured, `docs/method.md`).

Shape suffixes: r rows, g groups of rows (a row per seed), b bootstrap replicates.
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
    """Average the seeds of each group of consecutive rows, with the deviation of the mean drawn in every replicate.

    The deviation is normal with variance s² / R for R seeds, where s² is the mean over the groups of a block, not below
    zero, of the variance between seeds minus that expected from the texts. A group of one seed is unchanged.

    Args:
        replicates_rb: replicates over texts with the dictionary held fixed, AUROC.
        values_r: estimates of the rows.
        n_seeds_g: rows per group.
        cells: identity of the cell of each group: model, step, layer.
        kinds: control and level of each group. Groups of one cell and kind form a block. The draws of a block depend on
            its cell and kind alone, so that they are the same wherever it stands.

    Returns:
        Groups × replicates, clipped to [0, 1].
    """
    mean_gb = group_means(replicates_rb, n_seeds_g)
    if n_seeds_g.max(initial=1) == 1:
        return mean_gb
    values = np.asarray(values_r, dtype=np.float64)
    deviation_r = values - np.repeat(group_means(values[:, None], n_seeds_g)[:, 0], n_seeds_g)
    beyond_texts_g = _variance(deviation_r, n_seeds_g) - _variance_from_texts(replicates_rb, mean_gb, n_seeds_g)
    blocks: dict[tuple[object, ...], list[int]] = {}
    for group, key in enumerate(zip(cells, kinds, strict=True)):
        blocks.setdefault(key, []).append(group)
    for key, members in blocks.items():
        several = [group for group in members if n_seeds_g[group] > 1]
        if not several:
            continue
        spread = np.sqrt(max(beyond_texts_g[several].mean(), 0.0) / n_seeds_g[several])
        mean_gb[several] += spread[:, None] * _normal(key, len(several), replicates_rb.shape[1])
    return np.clip(mean_gb, 0, 1)


def nested_relative_means(
    replicates_rb: NDArray[np.floating],
    values_r: NDArray[np.floating],
    n_seeds_g: NDArray[np.integer],
    key: tuple[object, ...],
) -> Floats:
    """Average the seeds of each group of one block, where seeds deviate in proportion to the size of an effect.

    For effects without bounds, of which a few are large: a common variance of all groups would be that of the largest.
    The deviation of the mean is normal with variance c² m² / R for a mean m over R seeds. c² is the sum over the groups
    of the variance between seeds minus that expected from the texts, not below zero, divided by the sum of m².

    Args:
        replicates_rb: replicates over texts with the dictionary held fixed.
        values_r: estimates of the rows.
        n_seeds_g: rows per group.
        key: identity of the block, which alone decides its draws.

    Returns:
        Groups × replicates.
    """
    mean_gb = group_means(replicates_rb, n_seeds_g)
    several = np.flatnonzero(n_seeds_g > 1)
    if not len(several):
        return mean_gb
    values = np.asarray(values_r, dtype=np.float64)
    mean_g = group_means(values[:, None], n_seeds_g)[:, 0]
    deviation_r = values - np.repeat(mean_g, n_seeds_g)
    beyond_texts_g = _variance(deviation_r, n_seeds_g) - _variance_from_texts(replicates_rb, mean_gb, n_seeds_g)
    total = np.nansum(mean_g[several] ** 2)
    relative = np.sqrt(max(float(np.nansum(beyond_texts_g[several])), 0.0) / total) if total > 0 else 0.0
    spread = relative * np.abs(mean_g[several]) / np.sqrt(n_seeds_g[several])
    mean_gb[several] += spread[:, None] * _normal(key, len(several), replicates_rb.shape[1])
    return mean_gb


def _normal(key: tuple[object, ...], n: int, n_boot: int) -> Floats:
    """Draw standard normal numbers, groups × replicates, that depend only on the key."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return np.random.default_rng(list(digest)).standard_normal((n, n_boot))


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
