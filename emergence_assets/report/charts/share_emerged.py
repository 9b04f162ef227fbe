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
    share, low = (
        alt.Y(f"{name}:Q", scale=alt.Scale(domain=[0, 1]), title=f"share of {level} categories")
        for name in ("share", "lo")
    )
    columns = 0 if theme.is_wide(width) else 2
    colour = theme.colour_by("model", models, columns=columns, symbolStrokeWidth=4, **theme.LINE_LEGEND)
    dash = theme.dash_by("line", dict(zip(_LABELS.values(), ([1, 0], [4, 2]), strict=True)), columns=columns)
    measured = alt.Chart(theme.values(shown.filter(control_id="none")))
    band = measured.mark_area(opacity=0.15, interpolate="step-after", aria=False)
    lines = alt.Chart(theme.values(shown)).mark_line(interpolate="step-after", aria=False)
    chart = alt.layer(
        band.encode(x, low, alt.Y2("hi:Q"), colour),
        lines.encode(x, share, colour, dash),
        theme.points(measured, x, share, colour, size=30),
    )
    return theme.themed(
        chart.properties(width=width - 78, height=260),
        f"How many {level} categories have emerged by each checkpoint",
        "Best layer of each model; shaded: exact binomial 95 % interval over categories",
        width,
        f"Step plot of the share of {level} categories that have emerged against training step, a line per model.",
    )


def emerged_shares(hazard: pl.DataFrame, level: str) -> pl.DataFrame:
    """Make columns model, control_id, step, share, lo, hi: share 0 at the first checkpoint, then a row per gap."""
    rows = hazard.filter(pl.col("control_id").is_in(list(_LABELS)), category_level=level).drop_nulls("emerged_frac")
    keys = ["model", "control_id"]
    first = (
        rows.group_by(keys, maintain_order=True)
        .agg(step=pl.col("step_lo").min())
        .with_columns(share=0.0, lo=0.0, hi=0.0)
    )
    later = rows.select(*keys, step="step_hi", share="emerged_frac", lo="emerged_frac_lo", hi="emerged_frac_hi")
    return pl.concat([first.select(later.columns), later], how="vertical_relaxed").sort(*keys, "step")
