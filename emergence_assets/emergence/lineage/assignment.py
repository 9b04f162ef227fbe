"""The one-to-one assignment of latents with the largest total score: a check on mutual nearest neighbours.

Mutual nearest neighbours leave out a latent that is only second best for its partner; the assignment (the Hungarian
problem) gives every latent a partner. A match found by both methods does not depend on the choice between them.
"""

import numpy as np
from numpy.typing import NDArray

from emergence_assets.emergence.lineage.matching import Best, Edges

N_CANDIDATES = 32
"""Candidate partners per latent, from both sides (SAE Match, arXiv 2410.07656, assigns densely)."""


def in_assignment(best: Best, edges: Edges) -> NDArray[np.bool_]:
    """Return for each pair whether it is in the assignment with the largest total score.

    Only the best partners from both sides are candidates. A latent may stay alone at a score of 0, so that no pair with
    a negative score is forced.

    Args:
        best: best partners of every latent, for instance `N_CANDIDATES` ranks.
        edges: the pairs to look up.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    n, m = len(best.target_nr), len(best.source_mr)
    if not n or not m:
        return np.zeros(len(edges.source_e), dtype=bool)
    source, rank = np.nonzero(best.target_nr >= 0)
    target, score = best.target_nr[source, rank], best.score_nr[source, rank]
    target_2, rank_2 = np.nonzero(best.source_mr >= 0)
    source_2, score_2 = best.source_mr[target_2, rank_2], best.score_mr[target_2, rank_2]
    key = np.concatenate([source * m + target, source_2 * m + target_2])
    key, first = np.unique(key, return_index=True)
    cost = 1 - np.maximum(np.concatenate([score, score_2])[first], 0)
    # Every latent may stay alone, at the cost of a score of 0. A sparse matrix has no entry for a cost of 0.
    alone = np.arange(n)
    rows, columns = np.concatenate([key // m, alone]), np.concatenate([key % m, m + alone])
    weights = np.concatenate([np.maximum(cost, 1e-9), np.ones(n)])
    chosen_row, chosen_column = min_weight_full_bipartite_matching(
        csr_array((weights, (rows, columns)), shape=(n, m + n))
    )
    partner_n = np.full(n, -1)
    partner_n[chosen_row] = chosen_column
    return partner_n[edges.source_e] == edges.target_e
