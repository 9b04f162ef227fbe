"""Categories that are told by wording or by length, whatever they are about.

A category all of whose texts begin with the same sentence has a feature in an untrained network: the sentence. On
MMLU such categories, and those of long passages, were most of what a random network seemed to know
(`docs/probe-sets.md`).

Shape suffixes: p texts, c categories.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emergence_assets.texts.near_duplicates import SHINGLE_WORDS, Shingles, words

COMMON_SHARE = 0.25
"""A 5-gram is part of a template when at least so many texts of the category have it, and it is twice as frequent
there as in other categories."""
TEMPLATE_SHARE = 0.1
"""From this mean share of template 5-grams in its texts on, a category is a template."""
EDGE_SHARE = 0.5
"""So many texts more than elsewhere that begin, or end, in the same five words make a template too."""
LENGTH_AUROC = 0.85
"""A category whose texts are told from the others this well by their length alone is one of long texts."""


class Wording(NamedTuple):
    """How alike the texts of each category are in form."""

    template_share_c: NDArray[np.float64]
    """Mean share of a text's 5-grams that are common in the category and not elsewhere."""
    prefix_share_c: NDArray[np.float64]
    """Share of texts with the category's most frequent first five words, less that in other categories."""
    suffix_share_c: NDArray[np.float64]
    """The same of the last five words."""
    length_auroc_c: NDArray[np.float64]
    """AUROC of the number of words for the category; above 0.5 its texts are longer than the others."""
    median_words_c: NDArray[np.float64]

    @property
    def is_template_c(self) -> NDArray[np.bool_]:
        """Whether a shared wording could stand for the category."""
        edges = np.maximum(self.prefix_share_c, self.suffix_share_c)
        return (self.template_share_c >= TEMPLATE_SHARE) | (edges >= EDGE_SHARE)

    @property
    def is_long_c(self) -> NDArray[np.bool_]:
        """Whether length could stand for the category."""
        return self.length_auroc_c >= LENGTH_AUROC


def wording(texts: Sequence[str], found: Shingles, category_p: NDArray[np.integer], n_categories: int) -> Wording:
    """Compare the form of the texts of each category with that of all others.

    Args:
        texts: without what the prompt adds to all of them.
        found: their 5-grams, of `near_duplicates.shingles`.
        category_p: index of the category of every text; -1 is none, and the text takes no part.
        n_categories: how many there are.

    Returns:
        NaN where a category, or what it is compared with, has no text.
    """
    labelled = np.flatnonzero(category_p >= 0)
    split = [words(texts[p]) for p in labelled.tolist()]
    category = category_p[labelled]
    n_words = np.array([len(one) for one in split], np.float64)
    n_c = np.bincount(category, minlength=n_categories)
    prefix = _edge_share([tuple(one[:SHINGLE_WORDS]) for one in split], category, n_c)
    suffix = _edge_share([tuple(one[-SHINGLE_WORDS:]) for one in split], category, n_c)
    median = np.full(n_categories, np.nan)
    for c in np.flatnonzero(n_c):
        median[c] = np.median(n_words[category == c])
    template, length = _template_share(found, category_p, n_c), _length_auroc(n_words, category, n_c)
    return Wording(template, prefix, suffix, length, median)


def _template_share(found: Shingles, category_p: NDArray[np.integer], n_c: NDArray[np.integer]) -> NDArray[np.float64]:
    n_categories, n_labelled = len(n_c), int(n_c.sum())
    category_e = category_p[found.text_e].astype(np.int64)
    kept = category_e >= 0
    text_e, shingle_e, category_e = found.text_e[kept], found.shingle_e[kept], category_e[kept]
    # Texts that have a 5-gram, by (5-gram, category) and in all.
    pairs, pair_e = np.unique(shingle_e * n_categories + category_e, return_inverse=True)
    n_in = np.bincount(pair_e)
    n_all = np.bincount(shingle_e, minlength=found.n_shingles)[pairs // n_categories]
    own = n_c[pairs % n_categories]
    inside, outside = n_in / own, (n_all - n_in) / np.maximum(n_labelled - own, 1)
    is_template_e = ((inside >= COMMON_SHARE) & (inside >= 2 * outside) & (n_in >= 2))[pair_e]
    n_own_p = np.bincount(text_e, minlength=found.n_texts)
    n_template_p = np.bincount(text_e, weights=is_template_e, minlength=found.n_texts)
    share_p = n_template_p / np.maximum(n_own_p, 1)
    labelled = category_p >= 0
    total_c = np.bincount(category_p[labelled], weights=share_p[labelled], minlength=n_categories)
    with np.errstate(invalid="ignore"):
        return total_c / n_c


def _edge_share(
    edges: Sequence[tuple[str, ...]], category: NDArray[np.integer], n_c: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Lead of each category's most frequent edge; edges of fewer than five words count as none."""
    index: dict[tuple[str, ...], int] = {}
    edge = np.array([index.setdefault(one, len(index)) if len(one) == SHINGLE_WORDS else -1 for one in edges], int)
    whole = edge >= 0
    pairs, n_in = np.unique(edge[whole] * len(n_c) + category[whole], return_counts=True)
    n_all = np.bincount(edge[whole], minlength=len(index))[pairs // len(n_c)]
    own = n_c[pairs % len(n_c)]
    lead = n_in / own - (n_all - n_in) / np.maximum(n_c.sum() - own, 1)
    best = np.zeros(len(n_c))
    np.maximum.at(best, pairs % len(n_c), np.where(n_in >= 2, lead, 0.0))
    return np.where(n_c > 0, best, np.nan)


def _length_auroc(
    n_words: NDArray[np.float64], category: NDArray[np.integer], n_c: NDArray[np.integer]
) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    ranks = rankdata(n_words)
    wins = np.bincount(category, weights=ranks, minlength=len(n_c)) - n_c * (n_c + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return wins / (n_c * (n_c.sum() - n_c))
