"""Presence of every category in the codes of one dictionary: the AUROC of its best latent.

A latent is always chosen on split select and scored on split score.

Shape suffixes: p texts, n latents, c categories, b bootstrap replicates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.features.statistics.cell_tables import CellRecipe, require_one_label_per_text
from emergence_assets.features.statistics.codes import (
    Codes,
    Entries,
    bootstrap_auroc,
    delong_variance_nc,
    sparse_auroc_nc,
)
from emergence_assets.features.statistics.formulas import Floats, interval, normal_interval
from emergence_assets.features.statistics.labels import Labels, shuffled_labels, text_weights
from emergence_assets.features.statistics.linear_probes import ProbeScore
from emergence_assets.features.table import PRESENCE_CELLS

_PRESENCE = PRESENCE_CELLS.schema_without("sae_seed")


def presence_cell(
    codes: Codes, dense: Sequence[ProbeScore], labels: Sequence[Labels], recipe: CellRecipe
) -> pl.DataFrame:
    """Measure how well the best latent separates each category; one row per control, level and category.

    Row `none`: the latent with the highest AUROC on split select (`p_select`), its AUROC on split score (`p_best`) with
    DeLong's 95 % interval, the dense probe on the raw read-out (`p_dense`), and bootstrap replicates of both with
    latent and probe held fixed, joint over all cells. Row `label_shuffle`: means over permuted labels, each with a best
    latent of its own; the interval is the percentile interval of the mean's replicates, `latent` is null. Detection by
    the best latent (`_detection`) is null too.
    If no live latent is above chance on split select, `latent` is null and every AUROC is 0.5.
    Categories with too few texts have no row. See `PRESENCE_CELLS`.

    `dense` is `dense_scores` of the read-outs that were encoded.
    """
    require_one_label_per_text(codes, labels)
    frames = [_PRESENCE.to_frame()]
    for level, probe in zip(labels, dense, strict=True):
        texts = _LevelTexts.of(codes, level, recipe)
        if not len(texts.kept):
            continue
        permuted = shuffled_labels(level, recipe.n_shuffles, recipe.shuffle_seed)
        frames += [_measured(texts, probe), _permuted(texts, permuted, probe)]
    return pl.concat(frames)


def random_presence_cell(
    codes: Codes, dense: Sequence[ProbeScore], labels: Sequence[Labels], recipe: CellRecipe
) -> pl.DataFrame:
    """Measure presence in the codes of a random encoder: rows `random_encoder`, with the same texts and replicates.

    The interval is the percentile interval of the replicates. The dense probe does not depend on the dictionary; its
    replicates are in row `none` alone.
    """
    require_one_label_per_text(codes, labels)
    frames = [_PRESENCE.to_frame()]
    for level, probe in zip(labels, dense, strict=True):
        texts = _LevelTexts.of(codes, level, recipe)
        if len(texts.kept):
            found = texts.scored(level)
            replicates_cb = found.replicates_cb[texts.kept]
            lo, hi = interval(replicates_cb)
            frames.append(
                texts.rows(
                    "random_encoder",
                    latent=texts.latents(found),
                    p_select=found.p_select_c[texts.kept],
                    p_best=found.p_best_c[texts.kept],
                    p_best_lo=lo,
                    p_best_hi=hi,
                    **_detection(texts, found),
                    p_dense=probe.p_c[texts.kept],
                    replicates=replicates_cb.astype(np.float32),
                )
            )
    return pl.concat(frames)


@dataclass(frozen=True)
class _LevelTexts:
    """Codes of the labelled texts of one level, on both sides of the split."""

    level: Labels
    kept: NDArray[np.intp]
    """Categories with enough texts."""
    select: Entries
    score: Entries
    weights_pb: NDArray[np.float32]

    @classmethod
    def of(cls, codes: Codes, level: Labels, recipe: CellRecipe) -> "_LevelTexts":
        """Rank the codes of one level."""
        select, score = (codes.entries(level.rows(select=side)) for side in (True, False))
        kept = np.flatnonzero(level.is_usable(recipe.min_texts_per_split))
        return cls(level, kept, select, score, text_weights(level, recipe.n_boot, recipe.boot_seed))

    def scored(self, labelling: Labels) -> "Scored":
        """Score the best latents under true or permuted labels."""
        return score_labelling(self.select, self.score, labelling, self.kept, self.weights_pb)

    def latents(self, found: "Scored") -> list[int | None]:
        """Return the best latents of the kept categories."""
        return [int(n) if n >= 0 else None for n in found.latent_c[self.kept]]

    def rows(self, control_id: str, **columns: Any) -> pl.DataFrame:
        """Make rows of `PRESENCE_CELLS` of the kept categories; columns that are not given are null."""
        level, kept = self.level, self.kept
        n_all = level.counts(select=True) + level.counts(select=False)
        shared = {
            "control_id": control_id,
            "category_level": level.level,
            "category": [level.categories[c] for c in kept],
            "n_category": n_all[kept],
            "n_texts": n_all.sum(),
            "n_category_score": level.counts(select=False)[kept],
        }
        given = shared | columns
        return pl.DataFrame(given).select(
            pl.col(name).cast(dtype) if name in given else pl.lit(None, dtype).alias(name)
            for name, dtype in _PRESENCE.items()
        )


def _measured(texts: _LevelTexts, dense: ProbeScore) -> pl.DataFrame:
    level, kept, score = texts.level, texts.kept, texts.score
    real, n_categories = texts.scored(level), len(level.categories)
    category_score = level.codes_p[level.rows(select=False)]
    auroc_nc = sparse_auroc_nc(score, category_score, n_categories)
    variance_nc = delong_variance_nc(score, category_score, n_categories, auroc_nc)
    variance_c = np.where(real.latent_c >= 0, variance_nc[real.latent_c, np.arange(n_categories)], 0.0)
    lo, hi = normal_interval(real.p_best_c, variance_c)
    return texts.rows(
        "none",
        latent=texts.latents(real),
        p_select=real.p_select_c[kept],
        p_best=real.p_best_c[kept],
        p_best_lo=lo[kept],
        p_best_hi=hi[kept],
        **_detection(texts, real),
        p_dense=dense.p_c[kept],
        p_dense_lo=dense.lo_c[kept],
        p_dense_hi=dense.hi_c[kept],
        replicates=real.replicates_cb[kept].astype(np.float32),
        replicates_dense=dense.replicates_cb[kept].astype(np.float32),
    )


def _permuted(texts: _LevelTexts, labellings: Sequence[Labels], dense: ProbeScore) -> pl.DataFrame:
    kept, found = texts.kept, [texts.scored(one) for one in labellings]
    mean_cb = np.mean([one.replicates_cb for one in found], axis=0)[kept]
    lo, hi = interval(mean_cb)
    return texts.rows(
        "label_shuffle",
        p_select=np.mean([one.p_select_c for one in found], axis=0)[kept],
        p_best=np.mean([one.p_best_c for one in found], axis=0)[kept],
        p_best_lo=lo,
        p_best_hi=hi,
        p_dense=dense.shuffled_c[kept],
        replicates=mean_cb.astype(np.float32),
    )


def with_rule(presence: pl.DataFrame, stats: pl.DataFrame) -> pl.DataFrame:
    """Add the column `passes`: whether the rule of the study accepts the best latent for the category.

    Args:
        presence: rows of one dictionary; the column is null where `latent` is.
        stats: `cell_tables.latent_stats` of the same codes.
    """
    pair = ["category_level", "category", "latent"]
    accepted = stats.filter("passes").select(*pair, accepted=pl.lit(True))
    joined = presence.join(accepted, on=pair, how="left", maintain_order="left")
    has_latent = pl.col("latent").is_not_null()
    return joined.with_columns(passes=pl.when(has_latent).then(pl.col("accepted").fill_null(False))).drop("accepted")


def _detection(texts: _LevelTexts, found: "Scored") -> dict[str, Any]:
    """Describe the best latent of each kept category as a detector: a text is detected where it is active.

    Precision, recall, F1 and Matthews' correlation (Biochimica et Biophysica Acta 405, 1975) on split score, NaN
    without a latent or where undefined. `is_own`: whether the latent separates no other category better on split score.
    """
    kept, level = texts.kept, texts.level
    latent, category = found.latent_c[kept], level.codes_p[level.rows(select=False)]
    known, n = latent >= 0, texts.score.n_texts
    active = np.where(known, texts.score.n_active_n[latent], 0.0)
    hits = np.where(known, texts.score.sum_nc(category, len(level.categories))[latent, kept], 0.0)
    positives = level.counts(select=False)[kept].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = hits * n - active * positives
        deviations = np.sqrt(active * (n - active) * positives * (n - positives))
        measured = {
            "precision": hits / active,
            "recall": hits / positives,
            "f1": 2 * hits / (active + positives),
            "mcc": covariance / deviations,
        }
    columns = {name: pl.Series(np.where(known, value, np.nan)).fill_nan(None) for name, value in measured.items()}
    is_own = pl.Series(found.is_own_c[kept])
    return {**columns, "is_own": is_own.set(pl.Series(~known), None)}


class Scored(NamedTuple):
    """Scores of the best latents under one labelling, by category."""

    latent_c: NDArray[np.intp]
    """Chosen on split select; -1 where none is above chance."""
    p_select_c: Floats
    p_best_c: Floats
    """AUROC on split score; 0.5 without a latent."""
    is_own_c: NDArray[np.bool_]
    """Whether the chosen latent has its highest AUROC on split score for this category, among those kept."""
    replicates_cb: NDArray[np.float64]


def score_labelling(
    select: Entries,
    score: Entries,
    labelling: Labels,
    kept: NDArray[np.integer],
    weights_pb: NDArray[np.float32],
) -> Scored:
    """Choose every category's latent on one side of the split and score it on the other.

    Args:
        select: entries of the texts that are chosen on.
        score: entries of the texts that are scored on.
        labelling: true or permuted labels of all texts.
        kept: categories that get replicates; others cost nothing.
        weights_pb: text weights of the replicates, of all probe texts.
    """
    n_categories = len(labelling.categories)
    every = np.arange(n_categories)
    rows_score = labelling.rows(select=False)
    category_score = labelling.codes_p[rows_score]
    latent_c, p_select_c = _best_latents(select, labelling.codes_p[labelling.rows(select=True)], n_categories)
    auroc_nc = sparse_auroc_nc(score, category_score, n_categories)
    p_best_c = np.where(latent_c >= 0, auroc_nc[latent_c, every], 0.5)
    chosen_c = np.where(np.isin(every, kept), latent_c, -1)
    replicates_cb = bootstrap_auroc(score, category_score, chosen_c, weights_pb[rows_score])
    highest_c = auroc_nc[:, kept].max(axis=1, initial=0.0)[latent_c] if len(auroc_nc) else np.zeros(n_categories)
    is_own_c = (latent_c >= 0) & (p_best_c >= highest_c)
    return Scored(latent_c, p_select_c, p_best_c, is_own_c, replicates_cb)


def _best_latents(
    select: Entries, category_p: NDArray[np.integer], n_categories: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the latent with the highest AUROC per category, -1 when none is above chance.

    Of latents with equal AUROC, the latent with the larger sum of activations on the category is chosen, so that the
    choice is independent of the numbering of the latents.
    """
    auroc_nc = sparse_auroc_nc(select, category_p, n_categories)
    # a category without positives is undefined everywhere; it is dropped later and must not break the maximum
    auroc_nc = np.nan_to_num(auroc_nc, nan=0.5)
    if not len(auroc_nc):
        return np.full(n_categories, -1, dtype=np.intp), np.full(n_categories, 0.5)
    best_c = auroc_nc.max(axis=0)
    strength_nc = select.sum_nc(category_p, n_categories, select.value_e.astype(np.float64))
    latent_c = np.where(auroc_nc == best_c, strength_nc, -1.0).argmax(axis=0)
    above_chance = best_c > 0.5
    return np.where(above_chance, latent_c, -1), np.where(above_chance, best_c, 0.5)
