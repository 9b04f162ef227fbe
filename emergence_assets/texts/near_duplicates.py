"""Clusters of near-duplicate texts, which count as one unit of observation.

The resemblance of two texts (Broder 1997) is the Jaccard index of their sets of word 5-grams. It is exact: one product
of sparse matrices compares all pairs of texts that share a 5-gram.

Shape suffixes: p texts.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emergence_assets.texts.words import words

SHINGLE_WORDS = 5
"""Words per shingle. Shorter ones are shared by chance; longer ones miss copies with a changed word per sentence."""
MIN_RESEMBLANCE = 0.5
"""Smallest Jaccard index of two copies: half of their 5-grams are equal."""
MOST_TEXTS_PER_SHINGLE = 20
"""A 5-gram in more texts is a common phrase ("which of the following is") and no sign of a copy. The limit also bounds
the cost: a text is compared with at most 20 others per 5-gram."""


class Shingles(NamedTuple):
    """Word 5-grams of texts as distinct pairs of indices."""

    text_e: NDArray[np.int64]
    """Index of a text."""
    shingle_e: NDArray[np.int64]
    """Index of a 5-gram."""
    n_texts: int
    n_shingles: int


def shingles(texts: Sequence[str]) -> Shingles:
    """Find the word 5-grams of every text; a text with fewer words, or without words, is one shingle."""
    index: dict[tuple[str, ...], int] = {}
    text_e, shingle_e = [], []
    for p, text in enumerate(texts):
        found = words(text) or ["", text]
        runs = {tuple(found[i : i + SHINGLE_WORDS]) for i in range(max(1, len(found) - SHINGLE_WORDS + 1))}
        numbers = [index.setdefault(run, len(index)) for run in runs]
        text_e += [p] * len(numbers)
        shingle_e += numbers
    return Shingles(np.array(text_e, np.int64), np.array(shingle_e, np.int64), len(texts), len(index))


def clusters(texts: Sequence[str], min_resemblance: float = MIN_RESEMBLANCE) -> NDArray[np.int64]:
    """Assign every text to a cluster.

    Texts with a resemblance of at least `min_resemblance` share a cluster, directly or by a chain of texts. Texts that
    differ only in case, punctuation and white space always share one.

    Args:
        texts: the texts.
        min_resemblance: Jaccard index of word 5-grams, above 0 and at most 1.

    Returns:
        Cluster numbers from 0, in the order in which clusters first occur.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not texts:
        return np.zeros(0, np.int64)
    folded = [" ".join(words(text)) or text for text in texts]
    first: dict[str, int] = {}
    same_p = np.array([first.setdefault(text, len(first)) for text in folded])
    left, right = resembling_pairs(list(first), min_resemblance)
    links = coo_array((np.ones(len(left), bool), (left, right)), (len(first), len(first)))
    _, cluster_of_different = connected_components(links, directed=False)
    # Numbered by first occurrence, so that numbers are independent of the order in which scipy walks the graph.
    _, first_at, cluster_p = np.unique(cluster_of_different[same_p], return_index=True, return_inverse=True)
    rank = np.empty(len(first_at), np.int64)
    rank[np.argsort(first_at)] = np.arange(len(first_at))
    return rank[cluster_p]


def joined_groups(groupings: Sequence[NDArray[np.integer]]) -> NDArray[np.int64]:
    """Join texts that share a group in any of several groupings, directly or through other texts.

    Args:
        groupings: number of the group of every text, one array per grouping.

    Returns:
        Number of the joined group of every text.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(groupings[0])
    text, group, offset = [], [], n
    for numbers in groupings:
        _, dense = np.unique(numbers, return_inverse=True)
        text.append(np.arange(n))
        group.append(dense + offset)
        offset += int(dense.max(initial=-1)) + 1
    place = np.concatenate(text), np.concatenate(group)
    links = coo_array((np.ones(len(place[0]), bool), place), (offset, offset))
    return connected_components(links, directed=False)[1][:n].astype(np.int64)


def resembling_pairs(texts: Sequence[str], min_resemblance: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find index pairs (earlier, later) of texts with a resemblance of at least `min_resemblance`."""
    from scipy.sparse import csr_array

    found = shingles(texts)
    n_texts_of = np.bincount(found.shingle_e, minlength=found.n_shingles)
    is_specific = n_texts_of[found.shingle_e] <= MOST_TEXTS_PER_SHINGLE
    ones = np.ones(int(is_specific.sum()), np.int32)
    shape = (found.n_texts, found.n_shingles)
    incidence = csr_array((ones, (found.text_e[is_specific], found.shingle_e[is_specific])), shape)
    n_own = np.asarray(incidence.sum(axis=1)).ravel()
    shared = (incidence @ incidence.T).tocoo()
    left, right = (axis.astype(np.int64) for axis in shared.coords)
    upper = left < right
    left, right, n_shared = left[upper], right[upper], shared.data[upper]
    resemblance = n_shared / (n_own[left] + n_own[right] - n_shared)
    kept = resemblance >= min_resemblance
    return left[kept], right[kept]


def text_hash(text: str) -> str:
    """Make an id for a text without an id: the first half of the sha256 of its bytes."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
