"""Share of the categories that have emerged against the training step, a line per model beside its control."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme

_LABELS = {"none": "categories", "label_shuffle": "shuffled labels"}


def share_emerged(
    hazard: pl.DataFrame, level: str, models: Sequence[str], width: int = theme.WIDE
) -> theme.Chart | None:
    """Draw the share of the categories that have emerged by each checkpoint, at the best layer of every model.

    Args:
        hazard: see `EMERGENCE_HAZARD`.
        level: label level.
        models: names, smallest first.
        width: pixels of the whole chart.
    """
    rows = emerged_shares(hazard, level)
    if rows.is_empty():
        return None
    shown = rows.with_columns(
        x=theme.log_step(),
        line=pl.col("control_id").replace_strict(_LABELS),
        note=pl.format("{}, {}: {} by step {}", "model", "control_id", pl.col("share").round(3), "step"),
    )
    x = theme.step_x(shown["step"].to_list())
    y_scale, title = alt.Scale(domain=[0, 1]), f"share of {level} categories"
    columns = 0 if theme.is_wide(width) else 2
    colour = theme.colour_by("model", models, columns=columns, symbolStrokeWidth=4, **theme.LINE_LEGEND)
    dash = theme.dash_by("line", dict(zip(_LABELS.values(), ([1, 0], [4, 2]), strict=True)), columns=columns)
    measured = alt.Chart(theme.values(shown.filter(pl.col("control_id") == "none")))
    band = measured.mark_area(opacity=0.15, interpolate="step-after", aria=False).encode(
        x, alt.Y("lo:Q", scale=y_scale, title=title), alt.Y2("hi:Q"), colour
    )
    lines = (
        alt.Chart(theme.values(shown))
        .mark_line(interpolate="step-after", aria=False)
        .encode(x, alt.Y("share:Q", scale=y_scale, title=title), colour, dash)
    )
    points = measured.mark_point(filled=True, size=30, opacity=1).encode(
        x, alt.Y("share:Q", scale=y_scale, title=title), colour, alt.Description("note:N")
    )
    return theme.themed(
        alt.layer(band, lines, points).properties(width=width - 78, height=260),
        f"How many {level} categories have emerged by each checkpoint",
        "Best layer of each model; shaded: exact binomial 95 % interval over categories",
        width,
        f"Step plot of the share of {level} categories that have emerged against training step, a line per model.",
    )


def emerged_shares(hazard: pl.DataFrame, level: str) -> pl.DataFrame:
    """Make columns model, control_id, step, share, lo, hi: share 0 at the first checkpoint, then a row per gap."""
    shown = (pl.col("category_level") == level) & pl.col("control_id").is_in(list(_LABELS))
    rows = hazard.filter(shown & pl.col("emerged_frac").is_not_null())
    keys = ["model", "control_id"]
    first = rows.group_by(keys).agg(step=pl.col("step_lo").min()).with_columns(share=0.0, lo=0.0, hi=0.0)
    later = rows.select(*keys, step="step_hi", share="emerged_frac", lo="emerged_frac_lo", hi="emerged_frac_hi")
    return pl.concat([first.select(later.columns), later], how="vertical_relaxed").sort(*keys, "step")
