"""Latent × category statistics of a cell, compared with equal loops over scipy and scikit-learn.

Ours computes all pairs of one cell. The loops compute a sample of them, and their time is scaled to all pairs.
"""

import time
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control, hypergeom
from sklearn.metrics import roc_auc_score

from emergence_assets.features.statistics.cell_tables import CellRecipe, latent_stats
from emergence_assets.features.statistics.codes import Codes, sparse_auroc_nc
from emergence_assets.features.statistics.formulas import benjamini_hochberg, hypergeometric_tail
from emergence_assets.features.statistics.labels import Labels
from emergence_assets.features.statistics.pairs import MIN_SUPPORT
from emergence_assets.features.statistics.rule_counts import rule_counts

N_SAMPLED = 300
"""Number of pairs of latent and category that the loops compute."""


def planted_cell(n_texts: int, n_latents: int, n_categories: int, k: int, seed: int = 0) -> tuple[Codes, Labels]:
    """Draw codes whose latents are active at log-normal rates; every fourth latent is more active on one category."""
    rng = np.random.default_rng(seed)
    category = rng.integers(0, n_categories, n_texts).astype(np.int16)
    log_rate_n = rng.normal(0, 1, n_latents).astype(np.float32)
    home_n = np.where(np.arange(n_latents) % 4 == 0, rng.integers(0, n_categories, n_latents), -1)
    indices = np.empty((n_texts, k), np.int32)
    for text in range(n_texts):
        score_n = log_rate_n + 2.5 * (home_n == category[text]) + rng.gumbel(size=n_latents).astype(np.float32)
        indices[text] = np.argpartition(score_n, -k)[-k:]
    values = rng.random((n_texts, k), dtype=np.float32) + 0.1
    names = tuple(f"c{c:02}" for c in range(n_categories))
    return Codes(values, indices, n_latents), Labels("subject", names, category, rng.random(n_texts) < 0.5)


def measure_cell_statistics(
    n_texts: int = 14_000, n_latents: int = 4_096, n_categories: int = 57, k: int = 32, n_sampled: int = N_SAMPLED
) -> dict[str, Any]:
    """Measure CPU seconds of ours and of the loops, scaled to all pairs, and the largest difference of the results.

    Raises:
        AssertionError: a result differs by more than 1e-9.
    """
    codes, labels = planted_cell(n_texts, n_latents, n_categories, k)
    began = time.process_time()
    stats = latent_stats(codes, [labels], CellRecipe())
    whole = time.process_time() - began
    began = time.process_time()
    rule_counts(codes, [labels], stats, seed=0, min_texts_per_split=5)
    counting = time.process_time() - began

    select = labels.rows(select=True)
    # New codes, without the sorted entries that the first call cached.
    fresh = Codes(codes.values_pk, codes.indices_pk, codes.n_latents)
    began = time.process_time()
    entries = fresh.entries(select)
    category = labels.codes_p[select]
    count_nc = entries.sum_nc(category, n_categories)
    latent, c = np.nonzero(count_nc >= MIN_SUPPORT)
    p = hypergeometric_tail(count_nc[latent, c], len(select), labels.counts(select=True)[c], entries.n_active_n[latent])
    n_tests = int((entries.n_active_n > 0).sum()) * n_categories
    q = benjamini_hochberg(p, n_tests)
    auroc_nc = sparse_auroc_nc(entries, category, n_categories)
    ours = time.process_time() - began

    sampled = np.random.default_rng(1).choice(len(latent), min(n_sampled, len(latent)), replace=False)
    # Every pair of a live latent has an AUROC; pairs with support have a p-value too.
    loops = {"hypergeom.sf": 0.0, "roc_auc_score": 0.0}
    n_c = labels.counts(select=True)
    largest = 0.0
    for i in sampled:
        n, cat = int(latent[i]), int(c[i])
        began = time.process_time()
        tail = hypergeom.sf(count_nc[n, cat] - 1, len(select), n_c[cat], entries.n_active_n[n])
        loops["hypergeom.sf"] += time.process_time() - began
        # Dense activations of the latent, as a loop reads them from one array; filling the array is not counted.
        dense_p = np.where(codes.indices_pk[select] == n, codes.values_pk[select], 0).max(axis=1)
        began = time.process_time()
        auroc = roc_auc_score(category == cat, dense_p)
        loops["roc_auc_score"] += time.process_time() - began
        largest = max(largest, abs(tail - p[i]), abs(auroc - auroc_nc[n, cat]))
    began = time.process_time()
    every = np.ones(n_tests)
    every[: len(p)] = p
    by_scipy = false_discovery_control(every, method="bh")[: len(p)]
    correction = time.process_time() - began
    largest = max(largest, float(np.abs(by_scipy - q).max()))
    scaled = loops["hypergeom.sf"] / len(sampled) * len(p) + loops["roc_auc_score"] / len(sampled) * n_tests
    assert largest < 1e-9, f"numbers differ by {largest}"
    return {
        "pairs": n_tests,
        "pairs with support": len(p),
        "all columns of the table, CPU s": whole,
        "counts under three rules and permuted labels, CPU s": counting,
        "p, q and AUROC: ours, CPU s": ours,
        "p, q and AUROC: loops over scipy and scikit-learn, CPU s (scaled from a sample)": scaled + correction,
        "ours is faster by": (scaled + correction) / ours,
        "largest difference": largest,
    }
