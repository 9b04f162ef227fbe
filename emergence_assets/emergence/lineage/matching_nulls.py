"""Score thresholds of a match: two nulls, both of which a pair of latents must exceed.

* rotated: the other SAE's directions turned by one random rotation, its texts permuted. The two sets then share only
  dictionary sizes, norms and activation frequencies. This null is necessary and far from sufficient: two untrained
  dictionaries are both active where the read-outs lie, and a third of their latents exceed it (docs/method.md).
* untrained: a TopK dictionary of random directions on the other SAE's read-outs. A score above this null was learnt.

Each null is the 99.5 % quantile of the scores of the best partners, taken for every latent and from both sides like a
match.
"""

import numpy as np

from emergence_assets.emergence.lineage.matching import LatentSet, best_partners

QUANTILE = 0.995


def rotated(latents: LatentSet, seed: int) -> LatentSet:
    """Return the same latents in a randomly rotated space and on permuted texts.

    Args:
        latents: latents to rotate; the angles between them stay.
        seed: seed of rotation and permutation.
    """
    draw = np.random.default_rng(seed)
    text_p = draw.permutation(latents.activity.values_pn.shape[0])
    direction_nd = latents.direction_nd
    if direction_nd is not None:
        d = direction_nd.shape[1]
        # QR of a Gaussian matrix with the signs of R's diagonal is uniform over rotations (Mezzadri 2007).
        q_dd, r_dd = np.linalg.qr(draw.standard_normal((d, d)))
        direction_nd = (direction_nd @ (q_dd * np.sign(np.diag(r_dd)))).astype(np.float32)
    return LatentSet(latents.activity.on(text_p), direction_nd)


def null_threshold(one: LatentSet, null: LatentSet) -> float:
    """Return the 99.5 % quantile of the best scores between a set of latents and an unrelated set.

    Args:
        one: latents of a trained SAE.
        null: unrelated latents in place of the other SAE.

    Returns:
        A score; NaN if either set is empty.
    """
    if not len(one) or not len(null):
        return float("nan")
    best = best_partners(one, null, n_ranks=1)
    return float(np.quantile(np.concatenate([best.score_nr[:, 0], best.score_mr[:, 0]]), QUANTILE))
