"""When categories emerge: the share that has, against the training step, a line per model beside its control."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from emergence_assets.report.charts.theme import INK, WIDE, Chart, colours_of, log_step, step_axis, themed, values

_LABELS = {"none": "categories", "label_shuffle": "shuffled labels"}


def share_emerged(hazard: pl.DataFrame, level: str, models: Sequence[str], width: int = WIDE) -> Chart:
    """Share of the categories that have emerged by each checkpoint, at the best layer of every model.

    Args:
        hazard: see `EMERGENCE_HAZARD`.
        level: label level.
        models: names, smallest first.
        width: pixels of the whole chart.
    """
    rows = emerged_shares(hazard, level)
    shown = rows.with_columns(
        x=log_step(),
        line=pl.col("control_id").replace_strict(_LABELS),
        note=pl.format("{}, {}: {} by step {}", "model", "control_id", pl.col("share").round(3), "step"),
    )
    x = alt.X("x:Q", axis=step_axis(shown["step"].to_list()), scale=alt.Scale(nice=False))
    y_scale, title = alt.Scale(domain=[0, 1]), f"share of {level} categories"
    wide = width >= 600
    columns = 0 if wide else 2
    colour = alt.Color(
        "model:N",
        title=None,
        scale=alt.Scale(domain=list(models), range=colours_of(models)),
        legend=alt.Legend(columns=columns, symbolType="stroke", symbolSize=500, symbolStrokeWidth=4),
    )
    dash = alt.StrokeDash(
        "line:N",
        title=None,
        scale=alt.Scale(domain=list(_LABELS.values()), range=[[1, 0], [4, 2]]),
        legend=alt.Legend(orient="bottom", columns=columns, symbolType="stroke", symbolSize=500, symbolStrokeColor=INK),
    )
    measured = alt.Chart(values(shown.filter(pl.col("control_id") == "none")))
    band = measured.mark_area(opacity=0.15, interpolate="step-after", aria=False).encode(
        x, alt.Y("lo:Q", scale=y_scale, title=title), alt.Y2("hi:Q"), colour
    )
    lines = (
        alt.Chart(values(shown))
        .mark_line(interpolate="step-after", aria=False)
        .encode(x, alt.Y("share:Q", scale=y_scale, title=title), colour, dash)
    )
    points = measured.mark_point(filled=True, size=30, opacity=1).encode(
        x, alt.Y("share:Q", scale=y_scale, title=title), colour, alt.Description("note:N")
    )
    return themed(
        alt.layer(band, lines, points).properties(width=width - 78, height=260),
        f"How many {level} categories have emerged by each checkpoint",
        "Best layer of each model; shaded: exact binomial 95 % interval over categories",
        width,
        f"Step plot of the share of {level} categories that have emerged against training step, a line per model.",
    )


def emerged_shares(hazard: pl.DataFrame, level: str) -> pl.DataFrame:
    """Columns model, control_id, step, share, lo, hi: nothing at the first checkpoint, then a row per gap."""
    shown = (pl.col("category_level") == level) & pl.col("control_id").is_in(list(_LABELS))
    rows = hazard.filter(shown & pl.col("emerged_frac").is_not_null())
    keys = ["model", "control_id"]
    first = rows.group_by(keys).agg(step=pl.col("step_lo").min()).with_columns(share=0.0, lo=0.0, hi=0.0)
    later = rows.select(*keys, step="step_hi", share="emerged_frac", lo="emerged_frac_lo", hi="emerged_frac_hi")
    return pl.concat([first.select(later.columns), later], how="vertical_relaxed").sort(*keys, "step")
