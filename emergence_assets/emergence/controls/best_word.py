"""Control of a single latent by a single word: the word whose occurrence separates a category best.

It is a decision tree of one split, chosen and scored like a latent: on one half of the texts, and on the other.

Shape suffixes: p texts, k words of a text.
"""

import numpy as np

from emergence_assets.features.statistics.categorical_latents import TextFacts
from emergence_assets.features.statistics.codes import Codes


def word_codes(facts: TextFacts) -> Codes:
    """Encode each text by its words: word w is a latent that has the value 1 in every text with the word."""
    has_word_pw = facts.has_word_pw
    n_words_p = np.diff(has_word_pw.indptr)
    values_pk = np.zeros((len(n_words_p), max(int(n_words_p.max(initial=0)), 1)), np.float32)
    indices_pk = np.zeros(values_pk.shape, np.int32)
    is_word_pk = np.arange(values_pk.shape[1]) < n_words_p[:, None]
    values_pk[is_word_pk] = 1
    indices_pk[is_word_pk] = has_word_pw.indices
    return Codes(values_pk, indices_pk, len(facts.words))
