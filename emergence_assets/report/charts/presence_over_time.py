"""The first chart of the page: presence over training beside its controls; and parts that other charts share."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme
from emergence_assets.report.charts.readings import means_by_step, models_by_size, shuffled_by_step

AUROC_AXIS = "AUROC on held-out texts (0.5 = chance)"
_DASHES = {
    "best latent": [1, 0],
    "best random direction": [3, 3],
    "step 0 level": [2, 3],
    "dense probe": [7, 3],
    "bag of words": [9, 3, 2, 3],
    "shuffled labels": [4, 2],
}


def presence_over_time(presence: pl.DataFrame, level: str, width: int = theme.WIDE) -> theme.Chart | None:
    """Draw the mean AUROC of the best latent against the training step, a line per model, with all controls.

    Args:
        presence: see `CATEGORY_PRESENCE`.
        level: label level whose categories are averaged.
        width: pixels of the whole chart.
    """
    models = models_by_size(presence)
    means = means_by_step(presence, level)
    if means.is_empty():
        return None
    shuffled = shuffled_by_step(presence, level)
    ends = means.group_by("model", maintain_order=True).agg(pl.col("step").min(), last=pl.col("step").max())
    step0 = means.filter(step=0).select("model", p="p_best")
    level0 = pl.concat([ends.select("model", step=end) for end in ("step", "last")]).join(step0, on="model")
    bow = means["p_bow"].drop_nulls().drop_nans().mean()
    first, last = means["step"].min() or 0, means["step"].max() or 0
    lines = [
        means.select("model", "step", p="p_best", line=pl.lit("best latent")),
        means.select("model", "step", p="p_random", line=pl.lit("best random direction")),
        level0.select("model", "step", "p", line=pl.lit("step 0 level")),
        means.select("model", "step", p="p_dense", line=pl.lit("dense probe")),
        _control(shuffled["step"].to_list(), shuffled["mean"].to_list(), "shuffled labels"),
        _control([first, last], [bow, bow], "bag of words"),
    ]
    long = pl.concat([line.with_columns(pl.col("step").cast(pl.Int64)) for line in lines]).drop_nulls("p")
    long = long.with_columns(
        x=theme.log_step(),
        weight=pl.when(pl.col("line") == "best latent").then(3.0).otherwise(1.6),
        note=pl.format("{}, {}, step {}: {}", "model", "line", "step", pl.col("p").round(3)),
    )
    columns = 0 if theme.is_wide(width) else 2
    legend = {**theme.LINE_LEGEND, "columns": columns, "symbolDash": [1, 0], "symbolStrokeWidth": 4}
    colour = theme.colour_by("model", [*models, "all models"], [*theme.colours_of(models), theme.CONTROL], **legend)
    drawn = long["line"].unique()
    dash = theme.dash_by("line", {kind: dash for kind, dash in _DASHES.items() if kind in drawn}, columns=columns)
    x = theme.step_x(means["step"].to_list())
    y_scale = auroc_scale(long["p"], shuffled["lo"])
    y, low = alt.Y("p:Q", scale=y_scale, title=AUROC_AXIS), alt.Y("lo:Q", scale=y_scale, title=AUROC_AXIS)
    bands, shuffled_bands = (
        alt.Chart(theme.values(rows.with_columns(x=theme.log_step()))) for rows in (means, shuffled)
    )
    band = bands.mark_area(opacity=0.25, aria=False)
    shuffled_band = shuffled_bands.mark_area(opacity=0.35, color=theme.CONTROL, aria=False)
    curves = alt.Chart(theme.values(long)).mark_line(strokeCap="butt", aria=False)
    best = alt.Chart(theme.values(long.filter(line="best latent")))
    chart = alt.layer(
        shuffled_band.encode(x, low, alt.Y2("hi:Q")),
        theme.level_rule(p=0.5).encode(y),
        band.encode(x, low, alt.Y2("hi:Q"), colour),
        curves.encode(x, y, colour, dash, alt.StrokeWidth("weight:Q", scale=None, legend=None)),
        theme.points(best, x, y, colour, theme.shape_by("model", models), size=50),
    ).properties(width=width - 78, height=380 if theme.is_wide(width) else 320)
    return theme.themed(
        chart,
        f"Best latent for a {level} over training: {listed(models)} and the controls",
        f"Mean over {level} categories and layers; shaded: 95 % bootstrap interval; "
        "grey band: shuffled labels, range over models and layers",
        width,
        f"Line chart of mean AUROC against training step for {listed(models)}, beside random directions, "
        + ("" if step0.is_empty() else "step 0, ")
        + "dense probe, bag of words, shuffled labels and chance.",
    )


def _control(steps: Sequence[object], p: Sequence[object], line: str) -> pl.DataFrame:
    """Make a line that belongs to no single model."""
    frame = pl.DataFrame({"step": steps, "p": p}, schema={"step": pl.Int64, "p": pl.Float64})
    return frame.select(pl.lit("all models").alias("model"), "step", "p", pl.lit(line).alias("line"))


def auroc_scale(*shown: pl.Series) -> alt.Scale:
    """Make a scale from just below chance, or the lowest value if that is lower, to 1."""
    lowest = min((float(value) for series in shown for value in series.drop_nulls().drop_nans()), default=0.5)
    return alt.Scale(domain=[min(0.45, lowest - 0.02), 1.0], nice=False, zero=False)


def listed(models: Sequence[str]) -> str:
    """List the names of the models, or their number from five models on."""
    return ", ".join(models) if len(models) < 5 else f"{len(models)} models"
