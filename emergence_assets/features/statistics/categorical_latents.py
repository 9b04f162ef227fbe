"""Properties of the latents that the study's rule accepts: category, strength, examples, text length and words.

Shape suffixes: p texts, n latents, e active entries, w words.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from emergence_assets.features.statistics.codes import Codes, Entries
from emergence_assets.features.statistics.rule_counts import assigned
from emergence_assets.features.table import CATEGORICAL_LATENTS
from emergence_assets.texts.words import words

_SCHEMA = CATEGORICAL_LATENTS.schema_without("sae_seed")
N_EXAMPLES = 5
"""Number of a latent's strongest texts that are kept."""
N_STRONGEST = 50
"""Number of a latent's strongest texts that are searched for a common word."""


@dataclass(frozen=True)
class TextFacts:
    """Properties of every probe text that may drive a latent besides the category."""

    text_id: tuple[str, ...]
    length_p: NDArray[np.int64]
    """Length in characters."""
    words: tuple[str, ...]
    has_word_pw: csr_matrix
    """One row per text; 1 where a text contains a word."""

    @functools.cached_property
    def n_texts_w(self) -> NDArray[np.float64]:
        """Number of texts that contain each word, [words]."""
        return np.asarray(self.has_word_pw.sum(axis=0), dtype=np.float64).ravel()

    @classmethod
    def of(cls, text_id: Sequence[str], texts: Sequence[str]) -> "TextFacts":
        """Find the lengths and words of texts; for words see `texts/words.py`."""
        vectoriser = CountVectorizer(binary=True, analyzer=words)  # pyright: ignore[reportArgumentType]
        has_word = csr_matrix(vectoriser.fit_transform(texts))
        length = np.array([len(text) for text in texts], dtype=np.int64)
        return cls(tuple(text_id), length, tuple(vectoriser.get_feature_names_out().tolist()), has_word)


def categorical_latents(codes: Codes, stats: pl.DataFrame, facts: TextFacts, norm: float) -> pl.DataFrame:
    """Make one row per latent that `passes` at a level, with its assigned category.

    `strength`: mean activation on the category (split select, zeros included) over `norm`. `length_corr`: Spearman's
    correlation of activation and length over all probe texts. `word`: the word with the largest `word_excess`, its
    share in the latent's `N_STRONGEST` strongest texts minus its share in all texts. The read-out token itself cannot
    show whether a latent is lexical, because it is the same for all texts.

    Args:
        codes: codes of all probe texts.
        stats: `cell_tables.latent_stats` of these codes.
        facts: properties of the probe texts, in the order of the codes.
        norm: root mean square norm of the read-outs about their mean.
    """
    found = assigned(stats.filter("passes"), ("category_level", "latent"))
    if found.is_empty():
        return _SCHEMA.to_frame()
    entries = codes.entries(np.arange(len(codes.values_pk)))
    latents = found["latent"].unique().sort().to_numpy()
    word, excess = _words(entries, latents, facts)
    described = pl.DataFrame(
        {
            "latent": latents,
            "length_corr": _rank_correlation_n(entries, facts.length_p)[latents],
            "word": word,
            "word_excess": excess,
            "top_examples": [_examples(entries, latent, facts) for latent in latents],
        },
        schema_overrides={"latent": pl.Int32, "top_examples": _SCHEMA["top_examples"]},
    )
    return (
        found.join(described, on="latent", how="left")
        .with_columns(strength=pl.col("mean_act_category") / max(norm, 1e-30))
        .select(pl.col(name).cast(dtype) for name, dtype in _SCHEMA.items())
        .with_columns(pl.col("length_corr").fill_nan(None))
        .sort("category_level", "latent")
    )


def _rank_correlation_n(entries: Entries, value_p: NDArray[np.integer]) -> NDArray[np.float64]:
    """Compute Spearman's correlation of every latent with a number per text; NaN where either is constant.

    Inactive texts share one rank, so that sums over active entries are enough.
    """
    from scipy.stats import rankdata

    n, latent = entries.n_texts, entries.latent_e
    rank_p = np.asarray(rankdata(value_p), dtype=np.float64)
    centred_p = rank_p - rank_p.mean()
    # Rank of an active entry minus the rank of the inactive ones.
    above_e = 0.5 * (n - entries.n_active_n[latent]) + entries.below_e + 0.5 * entries.tied_e
    weights = (above_e, above_e**2, above_e * centred_p[entries.text_e])
    sums = [np.bincount(latent, weight, entries.n_latents) for weight in weights]
    variance = sums[1] / n - (sums[0] / n) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance > 1e-12, sums[2] / n / np.sqrt(variance * centred_p.var()), np.nan)


def _strongest(entries: Entries, latent: int, n: int) -> slice:
    """Locate the entries of the strongest texts of a latent, weakest first."""
    start, stop = int(entries.start_n[latent]), int(entries.start_n[latent + 1])
    return slice(max(start, stop - n), stop)


def _words(entries: Entries, latents: NDArray[np.integer], facts: TextFacts) -> tuple[list[str], NDArray[np.float64]]:
    places = [entries.text_e[_strongest(entries, int(latent), N_STRONGEST)] for latent in latents]
    sizes = np.array([len(place) for place in places])
    rows = np.repeat(np.arange(len(latents)), sizes)
    chosen = csr_matrix(
        (np.repeat(1 / np.maximum(sizes, 1), sizes), (rows, np.concatenate(places))), (len(latents), entries.n_texts)
    )
    share_w = np.asarray(facts.has_word_pw.mean(axis=0)).ravel()
    excess = csr_matrix(chosen @ facts.has_word_pw).toarray() - share_w
    best = excess.argmax(axis=1)
    return [facts.words[w] for w in best], excess[np.arange(len(latents)), best].astype(np.float64)


def _examples(entries: Entries, latent: int, facts: TextFacts) -> list[dict[str, object]]:
    place = _strongest(entries, int(latent), N_EXAMPLES)
    pairs = zip(entries.text_e[place][::-1], entries.value_e[place][::-1], strict=True)
    return [{"text_id": facts.text_id[text], "activation": float(value)} for text, value in pairs]
