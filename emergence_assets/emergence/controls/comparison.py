"""Every control of presence at the last step, compared with the measurement.

Shape suffixes: r rows, b bootstrap replicates.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
import polars.selectors as cs

from emergence_assets.emergence.controls.best_layers import layers_of_claims
from emergence_assets.emergence.controls.table import CATEGORY_CONTROLS
from emergence_assets.emergence.presence.net import RANDOM
from emergence_assets.emergence.presence.replicates import CELL_KEYS, group_means, p_not_above_zero, replicate_array
from emergence_assets.emergence.presence.seed_draws import nested_means
from emergence_assets.features.statistics.formulas import benjamini_hochberg, bounds

_ROW = ["layer", "control_id", "category_level", "category"]
_NUMBERS = ["p_select", "p_best", "p_dense"]
_CONTROL = [*_ROW, *_NUMBERS, "replicates", "n_draws"]


def category_controls(parts: pl.DataFrame, presence: pl.DataFrame, chosen: Sequence[str]) -> pl.DataFrame:
    """Return one row per (level, control, category) at the last step in the level's best layer, and their means.

    Means have `aggregate` "mean". `p_measured` is the p_best of the measurement in the same cell; `above_control` =
    p_measured − p_best of the control, with the interval of the paired replicates. For a control with several SAEs or
    random encoders the mean over these draws is taken, and its replicates resample the draws as those of the
    measurement resample SAE seeds. The controls `dense`, `bow` and `best_word` are no dictionaries: p_best is their
    AUROC. The bag of words has no replicates, so that the interval of its above_control covers the uncertainty of the
    measurement alone.

    p_value: of "the measurement is not above the control". q: Benjamini-Hochberg over the categories of a level, layer
    and control.

    Args:
        parts: rows of `rows.control_rows` with layer and control_id.
        presence: `category_presence` of one model: the measurement, and the controls step0, label_shuffle,
            random_encoder, dense, bow.
        chosen: controls of the study.
    """
    best = pl.DataFrame(
        list(layers_of_claims(presence).items()), {"category_level": pl.String, "layer": pl.Int16}, orient="row"
    )
    presence = presence.join(best, on=best.columns, how="semi")
    last = presence.filter(pl.col("step") == pl.col("step").max())
    measured = last.filter(pl.col("control_id") == "none").sort("layer", "category_level", "category")
    model = presence["model"].first()
    rows = pl.concat([_over_draws(parts, str(model)), _from_presence(presence, measured)])
    rows = rows.filter(pl.col("control_id").is_in(list(chosen)))
    paired = rows.join(
        measured.select(
            *CELL_KEYS,
            *("category_level", "category", "n_seeds", "n_boot", "data_version"),
            p_measured=pl.col("p_best"),
            measured_replicates=pl.col("replicates"),
        ),
        on=["layer", "category_level", "category"],
        how="inner",
        validate="m:1",
    ).sort(_ROW)
    if paired.is_empty():
        return CATEGORY_CONTROLS.schema.to_frame()
    control_rb = _replicates(paired, "replicates")
    measured_rb = _replicates(paired, "measured_replicates")
    each = _with_intervals(paired.with_columns(aggregate=pl.lit("none")), control_rb, measured_rb)
    group = [key for key in _ROW if key != "category"]
    means = (
        paired.sort(_ROW)
        .group_by(group, maintain_order=True)
        .agg(
            pl.col(*(key for key in CELL_KEYS if key != "layer")).first(),
            pl.col("n_draws", "n_seeds", "n_boot", "data_version").first(),
            pl.col(*_NUMBERS, "p_measured").mean(),
            size=pl.len(),
        )
        .with_columns(aggregate=pl.lit("mean"), category=pl.lit(None, dtype=pl.String))
    )
    sizes = means["size"].to_numpy()
    averaged = _with_intervals(means, group_means(control_rb, sizes), group_means(measured_rb, sizes))
    return (
        pl.concat([_with_q(each), _with_q(averaged)]).select(CATEGORY_CONTROLS.schema.names()).sort("aggregate", *_ROW)
    )


def _over_draws(parts: pl.DataFrame, model: str) -> pl.DataFrame:
    """Return the mean over the draws of each control, with replicates over texts and draws."""
    rows = parts.sort(*_ROW, "draw")
    drawn = rows.group_by(_ROW, maintain_order=True).agg(pl.col(_NUMBERS).mean(), n_draws=pl.len().cast(pl.Int16))
    if drawn.is_empty():
        return drawn.with_columns(replicates=pl.lit(None, pl.List(pl.Float32))).select(_CONTROL)
    replicates = nested_means(
        replicate_array(rows),
        rows["p_best"].to_numpy(),
        drawn["n_draws"].to_numpy().astype(np.int64),
        [(model, *cell) for cell in drawn.select("control_id", "layer").iter_rows()],
        list(drawn.select("control_id", "category_level").iter_rows()),
    )
    column = pl.Series("replicates", replicates.astype(np.float32), dtype=pl.List(pl.Float32))
    return drawn.with_columns(column).select(_CONTROL)


def _from_presence(presence: pl.DataFrame, measured: pl.DataFrame) -> pl.DataFrame:
    """Return the controls that `category_presence` already contains."""
    last = presence.filter(pl.col("step") == pl.col("step").max())
    probe = measured.with_columns(p_select=pl.lit(None, pl.Float32))
    found = {
        "step0": presence.filter(pl.col("step") == 0, pl.col("control_id") == "none"),
        "label_shuffle": last.filter(pl.col("control_id") == "label_shuffle"),
        "random_encoder": last.filter(pl.col("control_id") == RANDOM),
        "dense": probe.with_columns(p_best="p_dense", replicates="replicates_dense"),
        "bow": probe.with_columns(p_best="p_bow", replicates=pl.lit(None, pl.List(pl.Float32))),
    }
    return pl.concat(
        frame.with_columns(
            control_id=pl.lit(control_id),
            n_draws=pl.col("n_seeds").cast(pl.Int16) if control_id == RANDOM else pl.lit(None, pl.Int16),
        ).select(_CONTROL)
        for control_id, frame in found.items()
    )


def _replicates(rows: pl.DataFrame, column: str) -> np.ndarray:
    """Return the replicates of the rows; a row without replicates repeats its estimate."""
    n_boot = int(rows["n_boot"][0])
    fixed = pl.concat_list([pl.col("p_best").fill_null(float("nan"))] * n_boot)
    filled = rows.select(replicates=pl.coalesce(pl.col(column), fixed))
    return replicate_array(filled)


def _with_intervals(rows: pl.DataFrame, control_rb: np.ndarray, measured_rb: np.ndarray) -> pl.DataFrame:
    has_own = (rows["control_id"] != "bow").to_numpy()
    columns = bounds("p_best", np.where(has_own[:, None], control_rb, np.nan))
    columns |= bounds("above_control", measured_rb - control_rb)
    table = rows.with_columns(*pl.DataFrame(columns), above_control=pl.col("p_measured") - pl.col("p_best"))
    p_value = p_not_above_zero(table["above_control"].to_numpy(), measured_rb - control_rb)
    return (
        table.with_columns(cs.float().cast(pl.Float32).fill_nan(None))
        .with_columns(p_value=pl.Series(p_value).fill_nan(None))
        .select(pl.col(name).cast(dtype) for name, dtype in CATEGORY_CONTROLS.schema_without("q").items())
    )


def _with_q(rows: pl.DataFrame) -> pl.DataFrame:
    """Correct the p-values of the categories of each layer, control and level for their number."""
    group = [key for key in _ROW if key != "category"]
    corrected = [
        part.with_columns(q=pl.Series(benjamini_hochberg(part["p_value"].to_numpy())).fill_nan(None))
        for part in rows.partition_by(group, maintain_order=True)
    ]
    return pl.concat(corrected).cast({"q": CATEGORY_CONTROLS.schema["q"]})
