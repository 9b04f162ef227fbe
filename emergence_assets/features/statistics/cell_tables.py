"""The two tables of one cell (one SAE of one model, step and layer): latent statistics and category presence.

A latent is always chosen on split select and scored on split score.

Shape suffixes: p texts, d d_model, n latents, c categories, b bootstrap replicates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.features.rules import RULES
from emergence_assets.features.statistics.codes import (
    Codes,
    Entries,
    bootstrap_auroc,
    delong_variance_nc,
    sparse_auroc_nc,
)
from emergence_assets.features.statistics.formulas import Floats, normal_interval
from emergence_assets.features.statistics.labels import Labels, shuffled_labels, text_weights
from emergence_assets.features.statistics.linear_probes import ProbeScore, dense_probe_auroc
from emergence_assets.features.statistics.pairs import pair_statistics
from emergence_assets.features.table import LATENT_STATS, PRESENCE_CELLS
from resources.errors import EmergenceError, require_known

_STATS = LATENT_STATS.schema_without("sae_seed")
_PRESENCE = PRESENCE_CELLS.schema_without("sae_seed")


@dataclass(frozen=True)
class CellRecipe:
    """Settings that affect the numbers of a cell, besides its inputs."""

    rule_id: str = "lift_fdr_v1"
    """Rule by which a latent counts as categorical."""
    n_boot: int = 200
    """Bootstrap replicates over texts."""
    boot_seed: int = 0
    """Seed of the text weights; the same in every cell, so that cells are paired."""
    n_shuffles: int = 5
    """Label permutations of the control `label_shuffle`."""
    shuffle_seed: int = 0
    """Seed of the permutations."""
    min_texts_per_split: int = 5
    """A category with fewer texts on a side of the split has no presence."""
    ridge_strength: float = 0.01
    """Penalty of the dense probe per select text, on standardised inputs."""

    def __post_init__(self) -> None:
        """Refuse recipes without margins or controls."""
        if min(self.n_boot, self.n_shuffles, self.min_texts_per_split) < 2:
            raise EmergenceError(
                "a cell needs at least 2 bootstrap replicates, 2 label shuffles and 2 texts per category and split",
                where=self,
            )
        require_known("rule", [self.rule_id], RULES)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "CellRecipe":
        """Make a recipe from the section `statistics` of a study, as plain values."""
        return cls(
            rule_id=settings["rule_id"],
            n_boot=settings["n_bootstrap"],
            boot_seed=settings["seed"],
            n_shuffles=settings["n_shuffles"],
            shuffle_seed=settings["seed"],
        )


def latent_stats(codes: Codes, labels: Sequence[Labels], recipe: CellRecipe) -> pl.DataFrame:
    """Compute statistics of every latent × category pair with support; one row each, see `LATENT_STATS`.

    Counts, rates (shares of texts), lift, p, q, mutual information (bits) and mean activations (in units of the
    latent, zeros included) are taken on split select; columns with `score` in their name on split score, with
    DeLong's 95 % interval. `q_cell` is Benjamini-Hochberg over all live latents × categories of the level in this cell.
    Every rule has a column that is true if it accepts the pair; `passes` is the column of the recipe's rule.
    """
    _require_one_label_per_text(codes, labels)
    frames = [pair_statistics(codes, level) for level in labels]
    stats = pl.concat(frames) if frames else pl.DataFrame()
    if stats.is_empty():
        return _STATS.to_frame()
    return (
        # fill_null: an AUROC that is undefined (no text on split score) is no evidence
        stats.with_columns(rule.condition.fill_null(False).alias(rule.rule_id) for rule in RULES.values())
        .with_columns(rule_id=pl.lit(recipe.rule_id), passes=pl.col(recipe.rule_id))
        .select(pl.col(name).cast(dtype) for name, dtype in _STATS.items())
        .sort("category_level", "latent", "category")
    )


def dense_scores(
    read_out_pd: NDArray[np.floating], labels: Sequence[Labels], recipe: CellRecipe
) -> tuple[ProbeScore, ...]:
    """Score the dense probe of every level on the raw read-outs; the result is the same for all SAEs of a cell."""
    return tuple(
        dense_probe_auroc(
            read_out_pd,
            level,
            shuffled_labels(level, recipe.n_shuffles, recipe.shuffle_seed),
            recipe.ridge_strength,
            text_weights(level, recipe.n_boot, recipe.boot_seed),
        )
        for level in labels
    )


def presence_cell(
    codes: Codes, dense: Sequence[ProbeScore], labels: Sequence[Labels], recipe: CellRecipe
) -> pl.DataFrame:
    """Measure how well the best latent separates each category; one row per control, level and category.

    Row `none`: the latent with the highest AUROC on split select (`p_select`), its AUROC on split score (`p_best`) with
    DeLong's 95 % interval, the dense probe on the raw read-out (`p_dense`), and bootstrap replicates of both with
    latent and probe held fixed, joint over all cells. Row `label_shuffle`: means over permuted labels, each with a best
    latent of its own; the interval is the percentile interval of the mean's replicates, `latent` is null.
    If no live latent is above chance on split select, `latent` is null and every AUROC is 0.5.
    Categories with too few texts have no row. See `PRESENCE_CELLS`.

    `dense` is `dense_scores` of the read-outs that were encoded.
    """
    _require_one_label_per_text(codes, labels)
    frames = [
        _level_presence(codes, probe, level, recipe, text_weights(level, recipe.n_boot, recipe.boot_seed))
        for probe, level in zip(dense, labels, strict=True)
    ]
    return pl.concat([_PRESENCE.to_frame(), *frames])


def _level_presence(
    codes: Codes, dense: ProbeScore, level: Labels, recipe: CellRecipe, weights_pb: NDArray[np.float32]
) -> pl.DataFrame:
    rows_select, rows_score = level.rows(select=True), level.rows(select=False)
    kept = np.flatnonzero(level.is_usable(recipe.min_texts_per_split))
    if not len(kept):
        return _PRESENCE.to_frame()
    select, score = codes.entries(rows_select), codes.entries(rows_score)
    shuffled = shuffled_labels(level, recipe.n_shuffles, recipe.shuffle_seed)
    n_categories = len(level.categories)
    found = [score_labelling(select, score, labelling, kept, weights_pb) for labelling in (level, *shuffled)]
    real, permuted = found[0], found[1:]
    auroc_nc = sparse_auroc_nc(score, level.codes_p[rows_score], n_categories)
    variance_nc = delong_variance_nc(score, level.codes_p[rows_score], n_categories, auroc_nc)
    has_latent = real.latent_c >= 0
    variance_c = np.where(has_latent, variance_nc[real.latent_c, np.arange(n_categories)], 0.0)

    n_all = level.counts(select=True) + level.counts(select=False)
    shared = {
        "category_level": level.level,
        "category": [level.categories[c] for c in kept],
        "n_category": n_all[kept],
        "n_texts": n_all.sum(),
        "n_category_score": level.counts(select=False)[kept],
    }
    lo, hi = normal_interval(real.p_best_c, variance_c)
    measured = {
        "control_id": "none",
        **shared,
        "latent": [int(n) if n >= 0 else None for n in real.latent_c[kept]],
        "p_select": real.p_select_c[kept],
        "p_best": real.p_best_c[kept],
        "p_best_lo": lo[kept],
        "p_best_hi": hi[kept],
        "p_dense": dense.p_c[kept],
        "p_dense_lo": dense.lo_c[kept],
        "p_dense_hi": dense.hi_c[kept],
        "replicates": real.replicates_cb[kept].astype(np.float32),
        "replicates_dense": dense.replicates_cb[kept].astype(np.float32),
    }
    mean_replicates = np.mean([one.replicates_cb for one in permuted], axis=0)[kept]
    with np.errstate(invalid="ignore"):
        lo, hi = np.nanquantile(mean_replicates, (0.025, 0.975), axis=1)
    control = {
        "control_id": "label_shuffle",
        **shared,
        "p_select": np.mean([one.p_select_c for one in permuted], axis=0)[kept],
        "p_best": np.mean([one.p_best_c for one in permuted], axis=0)[kept],
        "p_best_lo": lo,
        "p_best_hi": hi,
        "p_dense": dense.shuffled_c[kept],
        "replicates": mean_replicates.astype(np.float32),
    }
    rows = pl.concat([pl.DataFrame(measured), pl.DataFrame(control)], how="diagonal")
    return rows.select(pl.col(name).cast(dtype) for name, dtype in _PRESENCE.items())


class Scored(NamedTuple):
    """Scores of the best latents under one labelling, by category."""

    latent_c: NDArray[np.intp]
    """Chosen on split select; -1 where none is above chance."""
    p_select_c: Floats
    p_best_c: Floats
    """AUROC on split score; 0.5 without a latent."""
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
    return Scored(latent_c, p_select_c, p_best_c, replicates_cb)


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


def _require_one_label_per_text(codes: Codes, labels: Sequence[Labels]) -> None:
    for level in labels:
        if len(level.codes_p) != len(codes.values_pk):
            raise EmergenceError(
                f"{len(codes.values_pk)} codes for {len(level.codes_p)} labelled texts",
                where=f"level {level.level}",
                remedy="Rematerialise the cell with this probe set.",
            )
