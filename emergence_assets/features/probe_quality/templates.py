"""Categories that wording or length separates, independent of their subject: surface-form confounds.

If all texts of a category begin with the same sentence, an untrained network has a feature for it: the sentence. On
MMLU most of the categories that a random network seemed to know had such a sentence or long passages
(`docs/probe-sets.md`).

Shape suffixes: p texts, c categories.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emergence_assets.texts.near_duplicates import SHINGLE_WORDS, Shingles
from emergence_assets.texts.words import words

COMMON_SHARE = 0.25
"""A 5-gram is part of a template if at least this share of the category's texts contains it, and it is at least twice
as frequent there as in other categories."""
TEMPLATE_SHARE = 0.1
"""A category with at least this mean share of template 5-grams in its texts is a template."""
EDGE_SHARE = 0.5
"""A category is also a template if the share of its texts with the same first (or last) five words exceeds that in
other categories by at least this much."""
LENGTH_AUROC = 0.85
"""A category is long if the length of its texts alone separates them with at least this AUROC."""
LONGEST_WORD = 30
"""Characters; a longer text of one word is in a script whose words are not found."""


class Wording(NamedTuple):
    """Similarity in form of the texts of each category."""

    template_share_c: NDArray[np.float64]
    """Mean share of a text's 5-grams that are common in the category and not elsewhere."""
    prefix_share_c: NDArray[np.float64]
    """Share of texts with the category's most frequent first five words, minus that share in other categories."""
    suffix_share_c: NDArray[np.float64]
    """As `prefix_share_c`, for the last five words."""
    length_auroc_c: NDArray[np.float64]
    """AUROC of the number of words for the category; above 0.5 its texts are longer than the others."""
    median_words_c: NDArray[np.float64]
    is_seen_c: NDArray[np.bool_]
    """Whether words are found in most texts; where they are not, no wording is seen and nothing follows."""

    @property
    def is_template_c(self) -> NDArray[np.bool_]:
        """Whether a shared wording could separate the category."""
        edges = np.maximum(self.prefix_share_c, self.suffix_share_c)
        return (self.template_share_c >= TEMPLATE_SHARE) | (edges >= EDGE_SHARE)

    @property
    def is_long_c(self) -> NDArray[np.bool_]:
        """Whether length could separate the category."""
        return self.length_auroc_c >= LENGTH_AUROC


def wording(texts: Sequence[str], found: Shingles, category_p: NDArray[np.integer], n_categories: int) -> Wording:
    """Compare the form of the texts of each category with that of all others.

    Args:
        texts: texts without the template of the prompt.
        found: 5-grams of the texts, from `near_duplicates.shingles`.
        category_p: index of the category of every text; -1 is none, and the text is ignored.
        n_categories: number of categories.

    Returns:
        Numbers per category; NaN where the category, or all others together, have no text.
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
    n_characters = np.array([len(texts[p]) for p in labelled.tolist()])
    is_hidden = (n_words <= 1) & (n_characters > LONGEST_WORD)
    is_seen = 2 * np.bincount(category, weights=is_hidden, minlength=n_categories) <= n_c
    template, length = _template_share(found, category_p, n_c), _length_auroc(n_words, category, n_c)
    return Wording(template, prefix, suffix, length, median, is_seen)


def _template_share(found: Shingles, category_p: NDArray[np.integer], n_c: NDArray[np.integer]) -> NDArray[np.float64]:
    n_categories, n_labelled = len(n_c), int(n_c.sum())
    category_e = category_p[found.text_e].astype(np.int64)
    kept = category_e >= 0
    text_e, shingle_e, category_e = found.text_e[kept], found.shingle_e[kept], category_e[kept]
    # Number of texts with a 5-gram, by (5-gram, category) and in total.
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
    """Compute the lead of each category's most frequent edge; texts of fewer than five words have no edge."""
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
