"""Controls without latents: linear probes on the raw read-out and on the words of the texts.

Shape suffixes: p texts, d d_model (any input dimension), c categories, b bootstrap replicates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.feature_extraction.text import TfidfVectorizer

from emergence_assets.features.statistics.formulas import auroc_c, bootstrap_auroc_cb, interval
from emergence_assets.features.statistics.labels import Labels, shuffled_labels
from emergence_assets.texts.words import words
from resources.errors import EmergenceError

BOW_PENALTY = 1.0
"""Ridge penalty on TF-IDF rows. The rows have length 1, so the penalty equals the weight of one text."""
BOW_SCHEMA: dict[str, type[pl.DataType]] = {
    "control_id": pl.String,
    "category_level": pl.String,
    "category": pl.String,
    "p_bow": pl.Float32,
}


@dataclass(frozen=True)
class ProbeScore:
    """AUROC of a probe per category for the true labels, with 95 % interval, and its mean over shuffled labels."""

    p_c: NDArray[np.float64]
    lo_c: NDArray[np.float64]
    hi_c: NDArray[np.float64]
    shuffled_c: NDArray[np.float64]
    """NaN without shuffles."""
    replicates_cb: NDArray[np.float64]
    """Bootstrap replicates of `p_c`."""


def dense_probe_auroc(
    read_out_pd: NDArray[np.floating],
    labels: Labels,
    shuffled: Sequence[Labels],
    ridge_strength: float,
    weights_pb: NDArray[np.float32],
) -> ProbeScore:
    """Measure how well a ridge probe on the raw read-out separates each category from all others.

    Args:
        read_out_pd: read-outs of all probe texts; standardised here with the mean and deviation of split select.
        labels: labels of the level; texts without a label are ignored.
        shuffled: permuted labels of the same level.
        ridge_strength: ridge penalty per select text.
        weights_pb: count of each text in each bootstrap replicate, as for the latents. The probe is held fixed: it is
            scored on weighted texts, not fitted on them.

    Raises:
        EmergenceError: the read-outs are not finite, or are not one per text.
    """
    if len(read_out_pd) != len(labels.codes_p):
        raise EmergenceError(
            f"{len(read_out_pd)} read-outs for {len(labels.codes_p)} labelled texts",
            remedy="Rematerialise the activations with this probe set.",
        )
    select = np.asarray(read_out_pd[labels.rows(select=True)], dtype=np.float64)
    score = np.asarray(read_out_pd[labels.rows(select=False)], dtype=np.float64)
    if not (np.isfinite(select).all() and np.isfinite(score).all()):
        raise EmergenceError("read-outs hold NaN or infinite values", remedy="Rematerialise the activations.")
    if not len(select) or not len(score):
        nan_c = np.full(len(labels.categories), np.nan)
        return ProbeScore(nan_c, nan_c, nan_c, nan_c, np.full((len(nan_c), weights_pb.shape[1]), np.nan))
    mean_d, deviation_d = select.mean(axis=0), select.std(axis=0)
    # A dimension that is constant up to rounding would be scaled to unit variance; in the embedding layer all are.
    varies = deviation_d > 1e-7 * np.abs(mean_d)
    select = (select - mean_d)[:, varies] / deviation_d[varies]
    score = (score - mean_d)[:, varies] / deviation_d[varies]
    penalty = ridge_strength * len(select)
    kernel = select.shape[1] > len(select)
    inputs = (select @ select.T, score @ select.T) if kernel else (select, score)
    (scores, truth), *permuted = _scored(labels, shuffled, *inputs, penalty, kernel=kernel)
    shuffled_c = np.mean([auroc_c(*one) for one in permuted], axis=0) if permuted else np.full(truth.shape[1], np.nan)
    replicates_cb = bootstrap_auroc_cb(scores, truth, weights_pb[labels.rows(select=False)])
    return ProbeScore(auroc_c(scores, truth), *interval(replicates_cb), shuffled_c, replicates_cb)


def bag_of_words_auroc(
    texts: Sequence[str], labels: Sequence[Labels], *, n_shuffles: int = 5, shuffle_seed: int = 0
) -> pl.DataFrame:
    """Measure how well the words alone separate each category from all others: ridge on TF-IDF, the same split.

    The result is independent of model, step and layer: it is computed once per probe set.

    Returns:
        One row per (control_id in none and label_shuffle, category_level, category), see `BOW_SCHEMA`; NaN for
        categories that lack texts on a side of the split.
    """
    frames = []
    for level in labels:
        rows_select, rows_score = level.rows(select=True), level.rows(select=False)
        if not len(rows_select) or not len(rows_score):
            continue
        # fit on split select only: the vocabulary and its weights must not depend on the scored texts
        vectoriser = TfidfVectorizer(sublinear_tf=True, analyzer=words, dtype=np.float64)  # pyright: ignore[reportArgumentType]
        try:
            select = vectoriser.fit_transform([texts[i] for i in rows_select])
        except ValueError as error:
            raise EmergenceError("the probe texts hold no words", where=f"level {level.level}") from error
        score = vectoriser.transform([texts[i] for i in rows_score])
        shuffled = shuffled_labels(level, n_shuffles, shuffle_seed)
        inputs = (select @ select.T).toarray(), (score @ select.T).toarray()
        real_c, *permuted = (auroc_c(*one) for one in _scored(level, shuffled, *inputs, BOW_PENALTY, kernel=True))
        for control_id, p_c in (("none", real_c), ("label_shuffle", np.mean(permuted, axis=0))):
            columns = {"control_id": control_id, "category_level": level.level, "category": level.categories}
            frames.append(pl.DataFrame(columns | {"p_bow": p_c}, schema=BOW_SCHEMA))
    return pl.concat(frames) if frames else pl.DataFrame(schema=BOW_SCHEMA)


def _scored(
    labels: Labels,
    shuffled: Sequence[Labels],
    select: NDArray[np.float64],
    score: NDArray[np.float64],
    penalty: float,
    *,
    kernel: bool,
) -> list[tuple[NDArray[np.float32], NDArray[np.float64]]]:
    """Fit one ridge for all labelings at once, because they share the inputs; return scores and truth values of each.

    With `kernel` the arguments are inner products with the select texts instead of inputs: the same solution through
    the n_texts × n_texts system, for inputs wider than there are texts.
    """
    labelings = [labels, *shuffled]
    rows_select, rows_score = labels.rows(select=True), labels.rows(select=False)
    truth_select = np.hstack([one_hot(labeling, rows_select) for labeling in labelings])
    target = truth_select - truth_select.mean(axis=0)
    gram, right = (select, target) if kernel else (select.T @ select, select.T @ target)
    weights = cho_solve(cho_factor(gram + penalty * np.eye(len(gram))), right) if len(gram) else right
    # float32 sorts several times faster; what it rounds to a tie is far below any margin
    scores = np.split((score @ weights).astype(np.float32), len(labelings), axis=1)
    return [(found, one_hot(labeling, rows_score)) for found, labeling in zip(scores, labelings, strict=True)]


def one_hot(labels: Labels, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return truth values of the texts `rows`, texts × categories."""
    return (labels.codes_p[rows, None] == np.arange(len(labels.categories))).astype(np.float64)
