"""k-sparse probes: ridge on the m latents of a dictionary that separate a category best.

As in Gurnee et al. (arXiv 2305.01610) and SAEBench (arXiv 2503.09532): latents and weights come from one half of the
texts, the AUROC from the other. One latent is presence; all dimensions are the dense probe; between them lies how many
latents share a category.

Shape suffixes: p texts, n latents, m latents of a probe, s sizes of a probe, c categories.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from emergence_assets.features.statistics.codes import Codes, sparse_auroc_nc
from emergence_assets.features.statistics.formulas import auroc_c
from emergence_assets.features.statistics.labels import Labels


def sparse_probe_auroc(
    codes: Codes, level: Labels, kept: NDArray[np.integer], sizes: Sequence[int], ridge_strength: float
) -> NDArray[np.float64]:
    """Measure how well probes on few latents separate categories.

    Args:
        codes: codes of all probe texts.
        level: labels of a level.
        kept: categories to measure.
        sizes: numbers of latents per probe, ascending. A dictionary with fewer live latents gives all of them.
        ridge_strength: ridge penalty per select text, on standardised activations.

    Returns:
        AUROC on split score, categories × sizes.
    """
    rows_select, rows_score = level.rows(select=True), level.rows(select=False)
    select_pn, score_pn = _dense(codes, rows_select), _dense(codes, rows_score)
    category_select, category_score = level.codes_p[rows_select], level.codes_p[rows_score]
    auroc_nc = sparse_auroc_nc(codes.entries(rows_select), category_select, len(level.categories))
    n_active_n = codes.entries(rows_select).n_active_n
    found = np.full((len(kept), len(sizes)), 0.5)
    for row, c in enumerate(kept):
        best = np.argsort(-np.where(n_active_n > 0, auroc_nc[:, c], -1.0), kind="stable")[: sizes[-1]]
        best = best[n_active_n[best] > 0]
        if len(best):
            weight_ms = _ridge(select_pn[:, best], category_select == c, sizes, ridge_strength)
            is_category_ps = np.broadcast_to((category_score == c)[:, None], (len(score_pn), len(sizes)))
            found[row] = auroc_c(score_pn[:, best] @ weight_ms, is_category_ps)
    return found


def _dense(codes: Codes, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return activations of some texts, texts × latents."""
    dense_pn = np.zeros((len(rows), codes.n_latents), np.float32)
    values, indices = codes.values_pk[rows], codes.indices_pk[rows]
    text, column = np.nonzero(values > 0)
    dense_pn[text, indices[text, column]] = values[text, column]
    return dense_pn


def _ridge(
    activation_pm: NDArray[np.float32], is_category_p: NDArray[np.bool_], sizes: Sequence[int], ridge_strength: float
) -> NDArray[np.float64]:
    """Fit membership by the first latents, as many as each size; return weights of raw activations [m, s]."""
    centred_pm = activation_pm - activation_pm.mean(axis=0, dtype=np.float64)
    deviation_m = centred_pm.std(axis=0)
    scaled_pm = centred_pm / deviation_m
    gram_mm = scaled_pm.T @ scaled_pm + ridge_strength * len(scaled_pm) * np.eye(scaled_pm.shape[1])
    target_m = scaled_pm.T @ (is_category_p - is_category_p.mean())
    weight_ms = np.zeros((len(target_m), len(sizes)))
    for column, size in enumerate(sizes):
        weight_ms[:size, column] = cho_solve(cho_factor(gram_mm[:size, :size]), target_m[:size])
    return weight_ms / deviation_m[:, None]
