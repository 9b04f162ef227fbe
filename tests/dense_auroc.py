"""AUROCs and their variance from dense scores: the reference of the statistics on sparse codes."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from emergence_assets.features.statistics.formulas import placements_pc


def auroc_nc(scores_pn: ArrayLike, is_category_pc: ArrayLike) -> NDArray[np.float64]:
    """Compute the area under the ROC curve of every score for every category, exact with ties.

    Args:
        scores_pn: scores, texts × latents.
        is_category_pc: truth values, texts × categories.

    Returns:
        AUROC, latents × categories, 0.5 = chance; NaN where a category has no positive or no negative text.
    """
    scores, truth = np.asarray(scores_pn), np.asarray(is_category_pc, dtype=np.float64)
    ranks = np.asarray(rankdata(scores, axis=0), dtype=np.float64)
    n_positive = truth.sum(axis=0)
    n_negative = len(truth) - n_positive
    # Mann-Whitney: wins of positives over negatives, a tie counting half.
    wins = ranks.T @ truth - n_positive * (n_positive + 1) / 2
    with np.errstate(invalid="ignore"):
        return wins / (n_positive * n_negative)


def delong_variance_c(scores_pc: ArrayLike, is_category_pc: ArrayLike) -> NDArray[np.float64]:
    """Compute the variance of every AUROC of `auroc_c` (DeLong, DeLong and Clarke-Pearson 1988).

    Returns:
        Variance per category; NaN below two positive or two negative texts.
    """
    truth = np.asarray(is_category_pc, dtype=bool)
    placements = placements_pc(scores_pc, truth)
    variance = np.full(truth.shape[1], np.nan)
    for c, (placement, positive) in enumerate(zip(placements.T, truth.T, strict=True)):
        n_positive, n_negative = int(positive.sum()), int((~positive).sum())
        if min(n_positive, n_negative) < 2:
            continue
        variance[c] = placement[positive].var(ddof=1) / n_positive + placement[~positive].var(ddof=1) / n_negative
    return variance
