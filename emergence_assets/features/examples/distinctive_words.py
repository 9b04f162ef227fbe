"""Words that set the texts of a latent apart: log-odds ratios with an informative Dirichlet prior.

Monroe, Colaresi and Quinn 2008, "Fightin' Words", Political Analysis 16 (4), equations 16 and 22: the prior is the
frequency of a word in all texts, so that a rare word needs more texts to stand out. A text counts a word once.

Shape suffixes: p texts, w words.
"""

import numpy as np
from numpy.typing import NDArray

from emergence_assets.features.statistics.categorical_latents import TextFacts

PRIOR = 100.0
"""Sum of the prior counts of all words: about the words of eight texts."""
MIN_Z = 2.0
"""Smallest z of a word that is named."""


def distinctive_words(facts: TextFacts, active_p: NDArray[np.intp], n_words: int = 8) -> list[tuple[str, float]]:
    """Return the words with the largest z in some texts against all other texts, with z; only those above `MIN_Z`.

    Args:
        facts: words of all texts.
        active_p: indexes of the texts.
        n_words: largest number of words.
    """
    total_w = facts.n_texts_w
    own_w = np.asarray(facts.has_word_pw[active_p].sum(axis=0), dtype=np.float64).ravel()
    other_w, prior_w = total_w - own_w, PRIOR * total_w / max(total_w.sum(), 1)
    here = own_w > 0
    if not here.any():
        return []

    def log_odds(count_w: NDArray[np.float64]) -> NDArray[np.float64]:
        own = count_w + prior_w
        return np.log(own[here]) - np.log(count_w.sum() + PRIOR - own[here])

    variance = 1 / (own_w + prior_w)[here] + 1 / (other_w + prior_w)[here]
    z = (log_odds(own_w) - log_odds(other_w)) / np.sqrt(variance)
    order = np.argsort(-z, kind="stable")[:n_words]
    places = np.flatnonzero(here)
    return [(facts.words[places[place]], float(z[place])) for place in order if z[place] > MIN_Z]
