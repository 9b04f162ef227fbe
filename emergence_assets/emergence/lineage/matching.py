"""Match the latents of two SAEs: nearest neighbours by decoder direction and activity, from both sides.

The score of a pair is the mean of the cosine of its decoder directions and the correlation of its activations on the
same texts. For SAEs of different models, whose spaces differ, it is the correlation alone. All pairs are scored, in
blocks: a preselection of candidates by cosine needs the same product and can miss the best partner.

Shape suffixes: n latents of one SAE, m latents of the other SAE, d d_model, r ranks, e edges.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emergence_assets.emergence.lineage.correlation import (
    Activity,
    correlation_block,
    correlation_of_pairs,
    jaccard,
    joint_counts,
)
from resources.errors import EmergenceError

N_RANKS = 3
"""Partners kept per latent: more than one, so that splits and merges are visible."""
BLOCK_PAIRS = 1 << 24
"""Pairs scored at a time: 64 MB in single precision."""


@dataclass(frozen=True, eq=False)
class LatentSet:
    """Latents of one SAE that can be matched."""

    activity: Activity
    """Indices of the latents and their activations."""
    direction_nd: NDArray[np.float32] | None
    """Decoder directions of unit length; None if they cannot be compared."""

    def __len__(self) -> int:
        return len(self.activity.latent_n)

    @property
    def latent_n(self) -> NDArray[np.int32]:
        """Indices of the latents in the dictionary."""
        return self.activity.latent_n


class Edges(NamedTuple):
    """Pairs of latents: at least one is the other's best partner, and each is among the other's best three."""

    source_e: NDArray[np.int64]
    """Position in the source set."""
    target_e: NDArray[np.int64]
    """Position in the target set."""
    score_e: NDArray[np.float32]
    rank_target_e: NDArray[np.int64]
    """Rank of the target among the source's partners, from 1."""
    rank_source_e: NDArray[np.int64]
    """Rank of the source among the target's partners, from 1."""

    @property
    def mutual_e(self) -> NDArray[np.bool_]:
        """Whether the two latents are each other's best partner."""
        return (self.rank_target_e == 1) & (self.rank_source_e == 1)

    def where(self, kept_e: NDArray[np.bool_]) -> "Edges":
        """Return the edges selected by a mask."""
        return self._make(part[kept_e] for part in self)


class Measured(NamedTuple):
    """Components of the scores of pairs, and their overlap."""

    cosine_e: NDArray[np.float32]
    """Cosine of the decoder directions; NaN if they cannot be compared."""
    correlation_e: NDArray[np.float32]
    n_joint_e: NDArray[np.int64]
    """Texts on which both latents are active."""
    jaccard_e: NDArray[np.float32]


class Best(NamedTuple):
    """Best partners of every latent of both sets, best first, and their scores; -1 and -inf for a missing partner."""

    target_nr: NDArray[np.int64]
    score_nr: NDArray[np.float32]
    source_mr: NDArray[np.int64]
    score_mr: NDArray[np.float32]

    def first(self, n_ranks: int) -> "Best":
        """Return the first `n_ranks` partners of each latent."""
        return self._make(part[:, :n_ranks] for part in self)


def match_latents(one: LatentSet, other: LatentSet) -> Edges:
    """Return all pairs in which one latent is the other's best partner and each is among the other's best three.

    The pairs do not depend on the numbering of the latents, except for equal scores.
    """
    return edges_of(best_partners(one, other))


def best_partners(one: LatentSet, other: LatentSet, n_ranks: int = N_RANKS) -> Best:
    """Return the partners with the highest scores, from both sides.

    Raises:
        EmergenceError: the sets were read on different numbers of texts, or only one set has directions.
    """
    n, m = len(one), len(other)
    target_nr, score_nr = _nothing(n, n_ranks)
    source_mr, score_mr = _nothing(m, n_ranks)
    for start, stop, score_bm in _scores(one, other):
        target_nr[start:stop], score_nr[start:stop] = _largest(score_bm, n_ranks)
        found, found_score = _largest(score_bm.T, n_ranks)
        # Earlier partners come first, so that the lower index wins a tie.
        merged, merged_score = np.hstack([source_mr, found + start]), np.hstack([score_mr, found_score])
        order = np.argsort(-merged_score, axis=1, kind="stable")[:, :n_ranks]
        source_mr = np.take_along_axis(merged, order, axis=1)
        score_mr = np.take_along_axis(merged_score, order, axis=1)
    return Best(target_nr, score_nr, np.where(np.isfinite(score_mr), source_mr, -1), score_mr)


def edges_of(best: Best) -> Edges:
    """Return the pairs among the best partners from both sides; see `match_latents`."""
    m = len(best.source_mr)
    source, place = np.nonzero(best.target_nr >= 0)
    target, rank = best.target_nr[source, place], place + 1
    key_from_source = source * m + target
    target_2, place_2 = np.nonzero(best.source_mr >= 0)
    source_2 = best.source_mr[target_2, place_2]
    key_from_target = source_2 * m + target_2
    _, first, second = np.intersect1d(key_from_source, key_from_target, assume_unique=True, return_indices=True)
    rank_target, rank_source = rank[first], place_2[second] + 1
    kept = (rank_target == 1) | (rank_source == 1)
    source, target, place = source[first][kept], target[first][kept], place[first][kept]
    return Edges(source, target, best.score_nr[source, place], rank_target[kept], rank_source[kept])


def measure_edges(one: LatentSet, other: LatentSet, edges: Edges) -> Measured:
    """Measure cosine, correlation and overlap of the given pairs, on the texts of the two sets."""
    pairs = np.stack([edges.source_e, edges.target_e], axis=1)
    if one.direction_nd is None or other.direction_nd is None:
        cosine_e = np.full(len(pairs), np.nan, dtype=np.float32)
    else:
        cosine_e = np.einsum("ed,ed->e", one.direction_nd[pairs[:, 0]], other.direction_nd[pairs[:, 1]])
    n_joint = joint_counts(one.activity, other.activity, pairs)
    n_one, n_other = one.activity.n_active_n[pairs[:, 0]], other.activity.n_active_n[pairs[:, 1]]
    correlation_e = correlation_of_pairs(one.activity, other.activity, pairs)
    return Measured(np.clip(cosine_e, -1, 1), correlation_e, n_joint, jaccard(n_joint, n_one, n_other))


def _scores(one: LatentSet, other: LatentSet) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Yield the scores of the first set's latents with all latents of the other, block by block."""
    if (one.direction_nd is None) != (other.direction_nd is None):
        raise EmergenceError("only one of two sets of latents has directions", where="matching of latents")
    n, m = len(one), len(other)
    n_rows = max(1, BLOCK_PAIRS // max(m, 1))
    for start in range(0, n if m else 0, n_rows):
        stop = min(n, start + n_rows)
        score_bm = correlation_block(one.activity, other.activity, start, stop)
        if one.direction_nd is not None and other.direction_nd is not None:
            score_bm += one.direction_nd[start:stop] @ other.direction_nd.T
            score_bm *= 0.5
        yield start, stop, score_bm


def _largest(score_bm: NDArray[np.float32], n_ranks: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return positions and values of the `n_ranks` largest entries per row, in order, found by repeated argmax."""
    place, value = _nothing(len(score_bm), n_ranks)
    left, every = np.array(score_bm), np.arange(len(score_bm))
    for rank in range(min(n_ranks, score_bm.shape[1])):
        place[:, rank] = left.argmax(axis=1)
        value[:, rank] = left[every, place[:, rank]]
        left[every, place[:, rank]] = -np.inf
    return place, value


def _nothing(n: int, n_ranks: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    return np.full((n, n_ranks), -1, dtype=np.int64), np.full((n, n_ranks), -np.inf, dtype=np.float32)
