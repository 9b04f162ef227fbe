"""SAE codes of the probe read-outs, and rank statistics that use their sparsity.

An inactive latent is a tie at zero, so the cost is proportional to the number of active entries, not to texts ×
latents.

Shape suffixes: p texts, k active latents, n latents, c categories, b bootstrap replicates, e active entries.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from resources.errors import EmergenceError


@dataclass(frozen=True)
class Codes:
    """TopK codes of the probe texts; an entry whose value is not above zero is inactive."""

    values_pk: NDArray[np.float32]
    """Latent activations, one row per text, one column per active latent."""
    indices_pk: NDArray[np.int32]
    """Index of the latent of each value."""
    n_latents: int
    """Dictionary size."""
    _known: dict[bytes, "Entries"] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Entries by set of texts: levels share texts, and several tables are made from each."""

    def __post_init__(self) -> None:
        """Refuse codes that would silently give wrong numbers."""
        values, indices = self.values_pk, self.indices_pk
        remedy = "Rematerialise the SAE of this cell."
        if values.ndim != 2 or values.shape != indices.shape:
            raise EmergenceError(
                f"codes have values of shape {values.shape} but indices of shape {indices.shape}", remedy=remedy
            )
        if not np.isfinite(values).all():
            raise EmergenceError("codes hold NaN or infinite latent activations", remedy=remedy)
        active = values > 0
        if active.any() and not 0 <= indices[active].min() <= indices[active].max() < self.n_latents:
            raise EmergenceError(f"codes point outside the dictionary of {self.n_latents} latents", remedy=remedy)
        ordered = np.sort(np.where(active, indices, -1 - np.arange(indices.shape[1])), axis=1)
        if (ordered[:, 1:] == ordered[:, :-1]).any():
            raise EmergenceError("codes name one latent twice for the same text", remedy=remedy)

    def entries(self, rows: NDArray[np.intp]) -> "Entries":
        """Return the active entries of the texts `rows`, ranked within each latent; computed once per set of rows."""
        key = np.asarray(rows).tobytes()
        if key not in self._known:
            self._known[key] = self._ranked(rows)
        return self._known[key]

    def _ranked(self, rows: NDArray[np.intp]) -> "Entries":
        values, indices = self.values_pk[rows], self.indices_pk[rows]
        text, column = np.nonzero(values > 0)
        latent, value = indices[text, column].astype(np.int64), values[text, column]
        # One sort of integers instead of two of columns: positive floats have the order of their bits.
        order = np.argsort(latent << 32 | value.astype(np.float32).view(np.int32))
        latent, value = latent[order], value[order]
        below, tied = _places_within(latent, value)
        start = np.searchsorted(latent, np.arange(self.n_latents + 1))
        return Entries(len(rows), self.n_latents, text[order], latent, value, below, tied, start)


@dataclass(frozen=True)
class Entries:
    """Active entries of one set of texts, sorted by latent, then by value."""

    n_texts: int
    n_latents: int
    text_e: NDArray[np.intp]
    """Position of the text in the set."""
    latent_e: NDArray[np.int64]
    value_e: NDArray[np.float32]
    below_e: NDArray[np.int64]
    """Number of smaller active entries of the same latent."""
    tied_e: NDArray[np.int64]
    """Number of active entries of the latent with the same value, this entry included."""
    start_n: NDArray[np.intp]
    """Index of the first entry of each latent; n_latents + 1 values."""

    @property
    def n_active_n(self) -> NDArray[np.intp]:
        """Number of texts on which each latent is active."""
        return np.diff(self.start_n)

    def of_latents(self, is_kept_n: NDArray[np.bool_]) -> "Entries":
        """Keep the entries of some latents; the other latents become inactive on all texts."""
        kept = is_kept_n[self.latent_e]
        start = np.concatenate([[0], np.cumsum(np.where(is_kept_n, self.n_active_n, 0))])
        return Entries(
            self.n_texts,
            self.n_latents,
            self.text_e[kept],
            self.latent_e[kept],
            self.value_e[kept],
            self.below_e[kept],
            self.tied_e[kept],
            start.astype(np.intp),
        )

    def sum_nc(
        self, category_p: NDArray[np.integer], n_categories: int, weight_e: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Sum a weight (default: count) over active entries, latents × categories; category -1 is left out."""
        category_e = category_p[self.text_e]
        kept = category_e >= 0
        key = self.latent_e[kept] * n_categories + category_e[kept]
        weight = None if weight_e is None else weight_e[kept]
        total = np.bincount(key, weight, self.n_latents * n_categories).reshape(self.n_latents, n_categories)
        # numpy counts in integers when there are no entries
        return total if weight_e is None else total.astype(np.float64)


def sparse_auroc_nc(entries: Entries, category_p: NDArray[np.integer], n_categories: int) -> NDArray[np.float64]:
    """Compute the AUROC of every latent for every category, from 0 to 1; NaN without a positive or negative.

    Args:
        entries: active entries of the texts.
        category_p: category of every text, 0 ... n_categories - 1.
        n_categories: number of categories.
    """
    n_positive = np.bincount(category_p, minlength=n_categories).astype(np.float64)
    # Every positive beats half of the zeros (a tie); an active one also beats the other half and the entries below.
    zero_place_n = 0.5 * (entries.n_texts - entries.n_active_n)
    place_e = zero_place_n[entries.latent_e] + entries.below_e + 0.5 * entries.tied_e
    wins = entries.sum_nc(category_p, n_categories, place_e)
    wins += zero_place_n[:, None] * n_positive
    with np.errstate(divide="ignore", invalid="ignore"):
        return (wins - 0.5 * n_positive**2) / (n_positive * (entries.n_texts - n_positive))


def delong_variance_nc(
    entries: Entries, category_p: NDArray[np.integer], n_categories: int, auroc_nc: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute DeLong's variance of every AUROC (DeLong, DeLong and Clarke-Pearson 1988), latents × categories.

    It needs the sums of squared placements of the positives and of the negatives. A negative's placement changes only
    at a positive, so each group of tied positives accounts for the negatives up to the next group.
    NaN for categories with fewer than two positives or negatives.
    """
    shape = (entries.n_latents, n_categories)
    n_positive = np.bincount(category_p, minlength=n_categories).astype(np.float64)
    n_negative = entries.n_texts - n_positive
    active_positive = entries.sum_nc(category_p, n_categories)
    active_negative = entries.n_active_n[:, None] - active_positive
    zero_positive = n_positive - active_positive
    zero_negative = n_negative - active_negative

    key_e = entries.latent_e * n_categories + category_p[entries.text_e]
    order = np.argsort(key_e, kind="stable")  # stable: each latent × category stays sorted by value
    key, value = key_e[order], entries.value_e[order]
    positives_below, positives_tied = _places_within(key, value)
    negatives_below = entries.below_e[order] - positives_below
    negatives_tied = entries.tied_e[order] - positives_tied
    positives_above = active_positive.ravel()[key] - positives_below - positives_tied

    def per_pair(at: NDArray[np.int64], weight: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(at, weight, shape[0] * shape[1]).reshape(shape).astype(np.float64)

    beaten = zero_negative.ravel()[key] + negatives_below + 0.5 * negatives_tied
    square_positive = per_pair(key, beaten**2) + zero_positive * (0.5 * zero_negative) ** 2

    first = np.ones(len(key), dtype=bool)  # one representative per group of tied positives
    first[1:] = (key[1:] != key[:-1]) | (value[1:] != value[:-1])
    key, below, tied = key[first], negatives_below[first], negatives_tied[first]
    above, level = positives_above[first], positives_tied[first]
    # Above the highest positive no negative is beaten (above = 0), so its slot of `next_below` has no effect.
    next_below = np.append(below[1:], 0)
    square_negative = per_pair(key, tied * (above + 0.5 * level) ** 2 + (next_below - below - tied) * above**2.0)
    lowest = np.ones(len(key), dtype=bool)
    lowest[1:] = key[1:] != key[:-1]
    square_negative += per_pair(key[lowest], below[lowest].astype(np.float64)) * active_positive**2.0
    square_negative += zero_negative * (active_positive + 0.5 * zero_positive) ** 2

    with np.errstate(divide="ignore", invalid="ignore"):
        variance_positive = (square_positive / n_negative**2 - n_positive * auroc_nc**2) / (n_positive - 1)
        variance_negative = (square_negative / n_positive**2 - n_negative * auroc_nc**2) / (n_negative - 1)
        variance = np.maximum(variance_positive, 0) / n_positive + np.maximum(variance_negative, 0) / n_negative
    return np.where((n_positive > 1) & (n_negative > 1), variance, np.nan)


def bootstrap_auroc(
    entries: Entries, category_p: NDArray[np.integer], latent_c: NDArray[np.integer], weights_pb: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Compute the AUROC of one chosen latent per category under text weights.

    Args:
        entries: active entries of the texts.
        category_p: category of every text.
        latent_c: the latent of each category; -1 (none) gives 0.5 everywhere.
        weights_pb: count of each text in each replicate.

    Returns:
        AUROC, categories × replicates; NaN where a replicate drew no text of the category (or no other).
    """
    n_categories = len(latent_c)
    auroc_cb = np.full((n_categories, weights_pb.shape[1]), 0.5)
    with_latent = np.flatnonzero(latent_c >= 0)
    if not len(with_latent):
        return auroc_cb
    of_latents = [np.arange(*entries.start_n[[latent, latent + 1]]) for latent in latent_c[with_latent]]
    owns = [e[category_p[entries.text_e[e]] == c] for c, e in zip(with_latent, of_latents, strict=True)]
    own_e, n_own = np.concatenate(owns), np.array([len(e) for e in owns])
    of_c = np.repeat(np.arange(len(owns)), n_own)
    # Weight below an entry: that of all entries before it in its latent. It is needed at few places, so weights are
    # summed between these places; sums of counts are exact in single precision.
    first_c, last_c = entries.start_n[latent_c[with_latent]], entries.start_n[latent_c[with_latent] + 1]
    low_e = first_c[of_c] + entries.below_e[own_e]
    place, number = np.unique(
        np.concatenate([first_c, last_c, low_e, low_e + entries.tied_e[own_e]]), return_inverse=True
    )
    first_c, last_c, low_e, high_e = np.split(number, np.cumsum([len(owns), len(owns), len(own_e)]))
    before_xb = np.zeros((len(place), weights_pb.shape[1]), dtype=np.float32)
    np.cumsum(_sums(entries.text_e[place[0] : place[-1]], place - place[0], weights_pb), axis=0, out=before_xb[1:])
    weight_eb = weights_pb[entries.text_e[own_e]]
    above_zero_eb = 0.5 * (before_xb[low_e] + before_xb[high_e]) - before_xb[first_c][of_c]
    ends = np.concatenate([[0], np.cumsum(n_own)])
    every = np.arange(len(own_e))
    wins_cb = _sums(every, ends, (weight_eb * above_zero_eb).astype(np.float64))
    active_cb = _sums(every, ends, weight_eb).astype(np.float64)
    total_b = weights_pb.sum(axis=0, dtype=np.float64)
    zero_place_cb = 0.5 * (total_b - (before_xb[last_c] - before_xb[first_c]))
    by_category = np.argsort(category_p, kind="stable")
    starts = np.searchsorted(category_p, np.arange(n_categories + 1), sorter=by_category)
    positive_cb = _sums(by_category[starts[0] :], starts - starts[0], weights_pb).astype(np.float64)[with_latent]
    # A positive at zero beats half of the zeros, an active one all of them.
    wins_cb += zero_place_cb * (positive_cb + active_cb)
    pairs_cb = positive_cb * (total_b - positive_cb)
    with np.errstate(divide="ignore", invalid="ignore"):
        auroc_cb[with_latent] = np.where(pairs_cb > 0, (wins_cb - 0.5 * positive_cb**2) / pairs_cb, np.nan)
    return auroc_cb


def _sums(row: NDArray[np.integer], ends: NDArray[np.integer], values: NDArray[Any]) -> NDArray[Any]:
    """Sum rows of a matrix in groups: group i has the rows `row[ends[i] : ends[i + 1]]`."""
    ones = np.ones(len(row), dtype=values.dtype)
    return csr_matrix((ones, row, ends), shape=(len(ends) - 1, len(values))) @ values


def _places_within(key: NDArray[np.int64], value: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For entries sorted by key, then value, count the smaller and the equal entries (itself included) of the key."""
    if len(key) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    new_key = np.ones(len(key), dtype=bool)
    new_key[1:] = key[1:] != key[:-1]
    new_tie = new_key.copy()
    new_tie[1:] |= value[1:] != value[:-1]
    tie_start = np.flatnonzero(new_tie)
    tie_of_e = np.cumsum(new_tie) - 1
    key_start = np.flatnonzero(new_key)[np.cumsum(new_key) - 1]
    tie_size = np.diff(np.append(tie_start, len(key)))
    return (tie_start[tie_of_e] - key_start).astype(np.int64), tie_size[tie_of_e].astype(np.int64)
