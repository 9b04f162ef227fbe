"""From what score on a pair of latents counts as a match: two nulls, both of which have to be exceeded.

* rotated: the other SAE's directions turned by one random rotation, its texts permuted. Nothing is left in common but
  dictionary sizes, norms and how often latents are active. Necessary and far from sufficient: two dictionaries that
  nobody trained are both active where the read-outs are, and a third of their latents pass it (docs/method.md).
* untrained: a TopK dictionary of random directions on the other's own read-outs. What exceeds it was learnt.

Both take the best partner of every latent, from both sides, as a match would be taken, and of these the 99.5 %
quantile.
"""

import numpy as np

from emergence_assets.emergence.lineage.matching import LatentSet, best_partners

QUANTILE = 0.995


def rotated(latents: LatentSet, seed: int) -> LatentSet:
    """The same latents in a randomly turned space and on permuted texts.

    Args:
        latents: to be turned; angles between them stay.
        seed: decides rotation and permutation.
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
    """99.5 % quantile of the best scores that latents of a set find in a set that has nothing to do with it.

    Args:
        one: a trained SAE.
        null: what takes the place of the other.

    Returns:
        A score; nan where either set is empty.
    """
    if not len(one) or not len(null):
        return float("nan")
    best = best_partners(one, null, n_ranks=1)
    return float(np.quantile(np.concatenate([best.score_nr[:, 0], best.score_mr[:, 0]]), QUANTILE))
