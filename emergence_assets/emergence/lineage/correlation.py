"""Similarity of two latents' activations over the same texts: Pearson correlation, phi and overlap, from sparse codes.

Nearly all activations are zero. The work is therefore proportional to the pairs of active entries per text, not to
texts × latents².

Shape suffixes: p texts, n latents of one SAE, m latents of the other SAE.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emergence_assets.features.statistics.codes import Codes
from resources.errors import EmergenceError

MIN_SUPPORT = 20
"""Active texts below which a latent is not compared: a single common text would already give a high correlation."""


class _Standardised(NamedTuple):
    """Activations divided by their standard deviation, in two layouts, and their means; a constant latent becomes 0."""

    by_text_pn: Any
    by_latent_np: Any
    mean_n: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Activity:
    """Activations on a set of texts of those latents of one SAE that are active often enough."""

    latent_n: NDArray[np.int32]
    """Indices of the latents in the dictionary, ascending."""
    values_pn: Any
    """`scipy.sparse.csr_array` of activations above zero, float32, one row per text."""

    @property
    def n_active_n(self) -> NDArray[np.int64]:
        """Number of texts on which each latent is active."""
        return np.bincount(self.values_pn.indices, minlength=len(self.latent_n)).astype(np.int64)

    @functools.cached_property
    def standardised(self) -> _Standardised:
        """Standardised activations; cached, because each SAE is compared with several others."""
        values_pn, value = self.values_pn, self.values_pn.data.astype(np.float64)
        n_texts, n_latents = values_pn.shape
        mean_n = np.bincount(values_pn.indices, value, n_latents) / max(n_texts, 1)
        square_n = np.bincount(values_pn.indices, value**2, n_latents) / max(n_texts, 1)
        variance_n = np.maximum(square_n - mean_n**2, 0)
        # a latent with the same value on every text has a variance of rounding errors only
        varies_n = variance_n > 1e-12 * square_n
        factor_n = np.where(varies_n, 1 / np.sqrt(np.where(varies_n, variance_n, 1)), 0)
        scaled_pn = values_pn.copy()
        scaled_pn.data = value * factor_n[values_pn.indices]
        return _Standardised(scaled_pn, scaled_pn.T.tocsr(), mean_n * factor_n)

    def firing(self) -> "Activity":
        """Return the same latents with every activation set to 1: their correlation is phi."""
        ones = self.values_pn.copy()
        ones.data = np.ones_like(ones.data)
        return Activity(self.latent_n, ones)

    def on(self, text_p: NDArray[np.integer]) -> "Activity":
        """Return the same latents on a selection or another order of the texts."""
        return Activity(self.latent_n, self.values_pn[text_p])


def latent_activity(codes: Codes, text_p: NDArray[np.integer], min_support: int = MIN_SUPPORT) -> Activity:
    """Return the activity on the given texts of the latents that are active on at least `min_support` of them."""
    from scipy.sparse import csr_array

    values, indices = codes.values_pk[text_p], codes.indices_pk[text_p]
    row, column = np.nonzero(values > 0)
    latent = indices[row, column]
    kept = np.bincount(latent, minlength=codes.n_latents) >= min_support
    place = np.cumsum(kept) - 1
    used = kept[latent]
    entries = (values[row, column][used], (row[used], place[latent[used]]))
    matrix = csr_array(entries, shape=(len(text_p), int(kept.sum())), dtype=np.float32)
    return Activity(np.flatnonzero(kept).astype(np.int32), matrix)


def correlation_block(one: Activity, other: Activity, start: int, stop: int) -> NDArray[np.float32]:
    """Return the Pearson correlation of latents `start` to `stop` of an SAE with all latents of another, in [-1, 1].

    Raises:
        EmergenceError: the numbers of texts differ.
    """
    n_texts = one.values_pn.shape[0]
    if n_texts != other.values_pn.shape[0]:
        raise EmergenceError(
            f"latents were read on {n_texts} and on {other.values_pn.shape[0]} texts",
            where="correlation of latents",
            remedy="read both on the same texts",
        )
    left, right = one.standardised, other.standardised
    one_np = left.by_latent_np
    block_np = one_np if stop - start == one_np.shape[0] else one_np[start:stop]
    together = (block_np @ right.by_text_pn).toarray() / n_texts
    return np.clip(together - np.outer(left.mean_n[start:stop], right.mean_n), -1, 1).astype(np.float32)


def correlation_of_pairs(
    one: Activity, other: Activity, pairs: Sequence[tuple[int, int]] | NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return the Pearson correlation of the given pairs of positions only."""
    place = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    left, right = one.standardised, other.standardised
    together = _product_sum(left.by_latent_np, right.by_latent_np, place) / one.values_pn.shape[0]
    return np.clip(together - left.mean_n[place[:, 0]] * right.mean_n[place[:, 1]], -1, 1).astype(np.float32)


def joint_counts(one: Activity, other: Activity, pairs: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count the texts on which both latents of each pair of positions are active."""
    place = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    fires_np, fires_mp = (_indicator(part.standardised.by_latent_np) for part in (one, other))
    return _product_sum(fires_np, fires_mp, place).round().astype(np.int64)


def jaccard(n_joint: NDArray[Any], n_one: NDArray[Any], n_other: NDArray[Any]) -> NDArray[np.float32]:
    """Return the texts on which both latents are active as a share of the texts on which either is active."""
    return (n_joint / np.maximum(n_one + n_other - n_joint, 1)).astype(np.float32)


def _indicator(matrix: Any) -> Any:
    """Return the matrix with 1 at every stored entry, even if the stored value is 0."""
    from scipy.sparse import csr_array

    return csr_array((np.ones_like(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)


def _product_sum(one_np: Any, other_mp: Any, place: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each pair of rows the sum over texts of their products."""
    products = one_np[place[:, 0]].multiply(other_mp[place[:, 1]])
    return np.asarray(products.sum(axis=1), dtype=np.float64).ravel()
