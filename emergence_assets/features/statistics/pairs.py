"""Statistics of the latent × category pairs of one cell and level, for the true labels or for permuted ones.

Shape suffixes: n latents, c categories.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.features.statistics.codes import Codes, Entries, delong_variance_nc, sparse_auroc_nc
from emergence_assets.features.statistics.formulas import (
    Floats,
    benjamini_hochberg,
    hypergeometric_tail,
    mutual_information_bits,
    normal_interval,
)
from emergence_assets.features.statistics.labels import Labels

Counts = NDArray[np.integer]
MIN_SUPPORT = 3
"""Pairs with fewer active texts of the category on split select have no row, but still count as tests."""


def pair_statistics(codes: Codes, level: Labels, candidates: pl.Expr | None = None) -> pl.DataFrame:
    """Make one row per pair with at least `MIN_SUPPORT` active texts of the category on split select.

    Columns are as in `LATENT_STATS`, without the columns of the rules. An undefined AUROC is null.

    Args:
        codes: codes of all probe texts.
        level: labels of all probe texts.
        candidates: condition over the columns of split select; by default all pairs. A pair that does not meet it has
            no row, and its statistics on split score are not computed.
    """
    rows_select, rows_score = level.rows(select=True), level.rows(select=False)
    n_texts = {"n_texts": len(rows_select) + len(rows_score), "n_texts_select": len(rows_select)}
    pairs = _on_select(codes.entries(rows_select), level.codes_p[rows_select], level, count_tests(codes, level))
    if candidates is not None:
        pairs = pairs.filter(candidates)
    pairs = _on_score(pairs, codes.entries(rows_score), level.codes_p[rows_score], level)
    names = pl.Series(level.categories, dtype=pl.String)
    return pairs.with_columns(
        pl.lit(level.level).alias("category_level"),
        names.gather(pairs["c"]).alias("category"),
        *(pl.lit(value).alias(name) for name, value in n_texts.items()),
    ).drop("c")


def count_tests(codes: Codes, level: Labels) -> int:
    """Count the tested pairs of a level: live latents × categories."""
    return int((codes.entries(level.rows(select=True)).n_active_n > 0).sum()) * len(level.categories)


def _on_select(select: Entries, category: NDArray[np.integer], level: Labels, n_tests: int) -> pl.DataFrame:
    n_categories, n = len(level.categories), len(category)
    count_nc = select.sum_nc(category, n_categories)
    latent, c = np.nonzero(count_nc >= MIN_SUPPORT)
    n_c = level.counts(select=True)
    k_c, k = count_nc[latent, c], select.n_active_n[latent]
    tpr, fpr, lift = _rates(k_c, k, n_c[c], n)
    activation_nc = select.sum_nc(category, n_categories, select.value_e.astype(np.float64))
    in_category = activation_nc[latent, c]
    p = hypergeometric_tail(k_c, n, n_c[c], k)
    return pl.DataFrame(
        {
            "latent": latent,
            "c": c,
            "n_category": (n_c + level.counts(select=False))[c],
            "n_category_select": n_c[c],
            "k_c": k_c,
            "k": k,
            "tpr": tpr,
            "fpr": fpr,
            "purity": k_c / np.maximum(k, 1),
            "lift": lift,
            "p_hyper": p,
            "q_cell": benjamini_hochberg(p, n_tests),
            "mi_bits": mutual_information_bits(k_c, n, n_c[c], k),
            "mean_act_category": in_category / np.maximum(n_c[c], 1),
            "mean_act_other": (activation_nc.sum(axis=1)[latent] - in_category) / np.maximum(n - n_c[c], 1),
            "auroc_select": sparse_auroc_nc(select, category, n_categories)[latent, c],
        }
    ).with_columns(pl.col("auroc_select").fill_nan(None))


def _on_score(pairs: pl.DataFrame, score: Entries, category: NDArray[np.integer], level: Labels) -> pl.DataFrame:
    n_categories = len(level.categories)
    latent, c = pairs["latent"].to_numpy(), pairs["c"].to_numpy()
    is_needed_n = np.zeros(score.n_latents, dtype=bool)
    is_needed_n[latent] = True
    if not is_needed_n.all():
        score = score.of_latents(is_needed_n)
    k_c, k = score.sum_nc(category, n_categories)[latent, c], score.n_active_n[latent]
    _, _, lift = _rates(k_c, k, level.counts(select=False)[c], len(category))
    auroc_nc = sparse_auroc_nc(score, category, n_categories)
    variance = delong_variance_nc(score, category, n_categories, auroc_nc)[latent, c]
    auroc = auroc_nc[latent, c]
    lo, hi = normal_interval(auroc, variance)
    return pairs.with_columns(
        pl.Series("k_c_score", k_c),
        pl.Series("lift_score", lift),
        *(
            pl.Series(f"auroc_score{side}", values).fill_nan(None)
            for side, values in (("", auroc), ("_lo", lo), ("_hi", hi))
        ),
    )


def _rates(k_c: Counts, k: Counts, n_c: Counts, n: int) -> tuple[Floats, Floats, Floats]:
    """Compute the true positive rate, false positive rate, and lift = TPR / max(FPR, 1 / n)."""
    tpr = k_c / np.maximum(n_c, 1)
    fpr = (k - k_c) / np.maximum(n - n_c, 1)
    return tpr, fpr, tpr / np.maximum(fpr, 1 / max(n, 1))
