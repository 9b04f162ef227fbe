"""Bootstrap replicates in tables: arrays, pairing with step 0, means over categories, intervals.

Replicate b weights the same texts in every row, so that the replicates of a difference of two rows are the differences
of their replicates.

Shape suffixes: r rows, b bootstrap replicates.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from emergence_assets.features.statistics.formulas import interval
from resources.errors import EmergenceError

MIN_COMMON_TEXTS = 0.9
"""Smallest share of a category's texts that the model with the fewest reads, of those of the model with the most."""
MARGIN = 0.05
"""Smallest gain that counts, in AUROC units. The standard error of one AUROC with 42 positives is near 0.04."""
CELL_KEYS = ("model", "n_params_nonemb", "step", "tokens_seen", "layer", "n_layers", "rel_depth")
SERIES_COLUMNS = (
    *CELL_KEYS,
    *("control_id", "aggregate", "category_level", "category", "p_select", "p_best", "p_best_lo", "p_best_hi"),
    *("p_dense", "p_bow", "n_seeds", "data_version", "p_seeds", "replicates"),
)


def replicate_array(table: pl.DataFrame, column: str = "replicates") -> NDArray[np.float64]:
    """Return a column of replicates as an array, rows × replicates.

    Raises:
        EmergenceError: the rows do not all have the same number of replicates.
    """
    lengths = table[column].list.len().unique()
    if len(lengths) > 1:
        raise EmergenceError(
            f"rows have {', '.join(str(n) for n in sorted(lengths))} bootstrap replicates, so they are not paired",
            remedy="Rematerialise the cells with the same settings.",
        )
    if table.is_empty():
        return np.zeros((0, 0))
    return table[column].explode().to_numpy().astype(np.float64).reshape(table.height, int(lengths[0]))


def seed_array(table: pl.DataFrame) -> NDArray[np.float64]:
    """Return column `p_seeds` as an array, rows × seeds; NaN at the end of rows with fewer seeds than others."""
    n_seeds = table["p_seeds"].list.len().to_numpy()
    if table.is_empty():
        return np.zeros((0, 0))
    seeds_rq = np.full((table.height, int(n_seeds.max())), np.nan)
    seeds_rq[np.arange(seeds_rq.shape[1]) < n_seeds[:, None]] = table["p_seeds"].explode().to_numpy()
    return seeds_rq


def seed_lists(seeds_rq: NDArray[np.float64]) -> pl.Series:
    """Return an array of `seed_array` as a column of lists, without NaN."""
    lists = pl.Series(seeds_rq.astype(np.float32), dtype=pl.List(pl.Float32))
    return lists.list.eval(pl.element().filter(pl.element().is_not_nan()))


def p_not_above_zero(estimate: ArrayLike, replicates: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the one-sided p-value of "the true value is not above zero", normal with the bootstrap's standard error.

    The normal approximation is needed because 200 replicates give no p-value below 0.005, which is too coarse to
    correct for 50 categories.

    Args:
        estimate: values of any shape.
        replicates: array of the same shape with replicates as last axis.

    Returns:
        P-values; NaN if the estimate is not finite or fewer than two of its replicates are finite.
    """
    from scipy.special import ndtr

    value = np.asarray(estimate, dtype=np.float64)
    finite = np.isfinite(replicates)
    count = finite.sum(axis=-1)
    mean = np.where(finite, replicates, 0).sum(axis=-1) / np.maximum(count, 1)
    square = np.where(finite, replicates - mean[..., None], 0) ** 2
    error = np.sqrt(square.sum(axis=-1) / np.maximum(count - 1, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(error > 0, ndtr(-value / error), np.where(value > 0, 0.0, 1.0))
    return np.where(np.isfinite(value) & (count > 1), p, np.nan)


def with_step0(
    table: pl.DataFrame, keys: tuple[str, ...], replicates_rb: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return p_best of every row, and p_best and replicates of the row with step 0 and equal `keys`; NaN without one.

    Args:
        table: columns step, p_best and `keys`.
        keys: columns that identify a row among those of its step.
        replicates_rb: replicates of p_best.
    """
    row0, p_best = matching_rows(table, keys, pl.col("step") == 0), table["p_best"].to_numpy().astype(np.float64)
    known = row0 >= 0
    return p_best, np.where(known, p_best[row0], np.nan), np.where(known[:, None], replicates_rb[row0], np.nan)


def matching_rows(table: pl.DataFrame, keys: Sequence[str], is_match: pl.Expr) -> NDArray[np.int64]:
    """Return for every row the position of the one row that meets a condition and has equal `keys`; -1 without one."""
    numbered = table.with_row_index("row")
    found = numbered.filter(is_match).select(*keys, pl.col("row").cast(pl.Int64).alias("match"))
    joined = numbered.select(*keys, "row").join(found, on=list(keys), how="left", nulls_equal=True, validate="m:1")
    return joined.sort("row")["match"].fill_null(-1).to_numpy()


def last_crossing(
    x_s: NDArray[np.float64], values_sb: NDArray[np.float64], level_b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Find the last rise of each series through its level, by linear interpolation between checkpoints.

    Args:
        x_s: position of every checkpoint, at least two.
        values_sb: values, checkpoints × series.
        level_b: level of every series.

    Returns:
        x of the crossing, NaN for a series that is never below its level or does not end above it; position of the
        checkpoint before it.
    """
    below_sb = values_sb[:-1] < level_b
    crosses_b = below_sb.any(axis=0) & (values_sb[-1] > level_b)
    before_b = len(below_sb) - 1 - below_sb[::-1].argmax(axis=0)
    columns = np.arange(values_sb.shape[1])
    lower, upper = values_sb[before_b, columns], values_sb[before_b + 1, columns]
    rise_b = np.where(crosses_b & (upper > lower), upper - lower, 1.0)
    x_b = x_s[before_b] + (level_b - lower) / rise_b * (x_s[before_b + 1] - x_s[before_b])
    return np.where(crosses_b, x_b, np.nan), before_b


def with_category_mean(presence: pl.DataFrame) -> pl.DataFrame:
    """Append to `category_presence` (`aggregate` "none") the mean over categories per cell and level ("mean").

    The mean has equal weights and `category` null. Its interval comes from the means of the replicates and so accounts
    for the texts that categories share. Only `SERIES_COLUMNS` are kept.
    """
    table = presence.with_columns(aggregate=pl.lit("none")).select(SERIES_COLUMNS)
    if table.is_empty():
        return table
    group = [*CELL_KEYS, "control_id", "category_level"]
    table = table.sort([*group, "category"])
    means = table.group_by(group, maintain_order=True).agg(
        pl.col("p_select", "p_best", "p_dense", "p_bow").mean(),
        pl.col("n_seeds").min(),
        pl.col("data_version").first(),
        n_categories=pl.len(),
    )
    replicates = group_means(replicate_array(table), means["n_categories"].to_numpy())
    seeds = group_means(seed_array(table), means["n_categories"].to_numpy())
    lo, hi = interval(replicates)
    means = means.with_columns(
        aggregate=pl.lit("mean"),
        category=pl.lit(None, dtype=pl.String),
        p_best_lo=pl.Series(lo, dtype=pl.Float32).fill_nan(None),
        p_best_hi=pl.Series(hi, dtype=pl.Float32).fill_nan(None),
        p_seeds=seed_lists(seeds),
        replicates=pl.Series(replicates.astype(np.float32), dtype=pl.List(pl.Float32)),
    ).select(SERIES_COLUMNS)
    return pl.concat([table, means])


def group_means(replicates_rb: NDArray[np.floating], sizes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Average consecutive groups of rows; a replicate undefined in one row is left out of its group's mean."""
    starts = group_starts(sizes)
    defined = np.isfinite(replicates_rb)
    total = np.add.reduceat(np.where(defined, replicates_rb, 0.0), starts, axis=0)
    count = np.add.reduceat(defined.astype(np.float64), starts, axis=0)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def group_starts(sizes: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return the first row of each of consecutive groups of rows."""
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)


def best_layers(presence: pl.DataFrame) -> pl.DataFrame:
    """Choose per model, step and level the layer with the highest mean `p_select`.

    The choice uses split select and the real labels, so that it does not bias `p_best` at that layer. The lowest layer
    wins a tie.

    Returns:
        Columns model, step, category_level, layer.
    """
    group = ["model", "step", "category_level", "layer"]
    means = (
        presence.filter(pl.col("control_id") == "none")
        .group_by(group, maintain_order=True)
        .agg(pl.col("p_select").mean())
    )
    best = means.sort(["p_select", "layer"], descending=[True, False])
    return best.unique(["model", "step", "category_level"], keep="first", maintain_order=True).select(group)


def require_same_texts(table: pl.DataFrame) -> None:
    """Refuse rows of a model that were measured on different texts: their replicates cannot be paired.

    Raises:
        EmergenceError: a category does not have the same number of texts in all cells of a model.
    """
    counts = table.group_by("model", "category_level", "category", maintain_order=True).agg(
        pl.col("n_category", "n_texts").n_unique()
    )
    odd = counts.filter((pl.col("n_category") > 1) | (pl.col("n_texts") > 1)).sort("category_level", "category")
    if not odd.is_empty():
        raise EmergenceError(
            f"category {odd['category'][0]!r} was measured on different texts in different cells",
            where=f"model {odd['model'][0]}, level {odd['category_level'][0]}",
            remedy="Rematerialise the cells with one probe set.",
        )


def on_common_texts(presence: pl.DataFrame) -> pl.DataFrame:
    """Keep the categories that all models read on nearly the same texts, for comparisons between models.

    A text that is too long for the context, or ends in another token than most, depends on the tokenizer. Replicates of
    models are paired all the same, because they are drawn from the whole probe set (`labels.text_weights`); but a
    category on other texts is another category.
    """
    key = ["category_level", "category"]
    counts = presence.group_by(key, maintain_order=True).agg(
        share=pl.col("n_category").min() / pl.col("n_category").max()
    )
    return presence.join(counts.filter(pl.col("share") >= MIN_COMMON_TEXTS), on=key, how="semi", maintain_order="left")
