"""Utility of every checkpoint against its training compute, a line per model."""

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme
from emergence_assets.report.charts.presence_over_time import listed


def costs_of(cost: pl.DataFrame, level: str) -> pl.DataFrame:
    """Select the checkpoints after step 0 with known utility, by size and step.

    Args:
        cost: see `COST_UTILITY`.
        level: label level.
    """
    rows = cost.filter(pl.col("train_flops") > 0, category_level=level, control_id="none")
    return rows.drop_nulls("u_excess").sort("n_params_nonemb", "model", "step")


def utility_by_compute(cost: pl.DataFrame, level: str, width: int = theme.WIDE) -> theme.Chart | None:
    """Draw utility against training compute with intervals, efficient checkpoints, and the compute to reach 90 %.

    Args:
        cost: see `COST_UTILITY`.
        level: label level whose categories are averaged.
        width: pixels of the whole chart.
    """
    rows = costs_of(cost, level)
    if rows.is_empty():
        return None
    models = rows["model"].unique(maintain_order=True).to_list()
    long = rows.select(
        "model",
        "train_flops",
        "pareto",
        u="u_excess",
        lo="u_excess_lo",
        hi="u_excess_hi",
        note=pl.format("{}, step {}: {}", "model", "step", pl.col("u_excess").round(3)),
    )
    last = rows.group_by("model", maintain_order=True).last().drop_nulls("flops_to_90")
    ends = {"flops": "flops_to_90", "lo": "flops_to_90_lo", "hi": "flops_to_90_hi"}
    enough = last.select("model", **ends, u=0.9 * pl.col("u_excess"))
    colour = theme.colour_by(
        "model", models, columns=0 if theme.is_wide(width) else 2, symbolStrokeWidth=4, **theme.LINE_LEGEND
    )
    x = alt.X(
        "train_flops:Q",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(title="training compute in FLOP (6 N D), log scale", format=".0e", grid=False, tickCount=6),
    )
    y = alt.Y("u:Q", title="utility: mean excess over step 0", scale=alt.Scale(zero=True))
    shape = theme.shape_by("model", models)
    base, final = alt.Chart(theme.values(long)), alt.Chart(theme.values(enough))
    efficient = base.transform_filter("datum.pareto")
    label = final.mark_text(text="90 %", dy=14, dx=4, align="left", fontSize=12, color=theme.QUIET, aria=False)
    layers = [
        base.mark_area(opacity=0.2, aria=False).encode(x, alt.Y("lo:Q"), alt.Y2("hi:Q"), colour),
        base.mark_line(strokeWidth=2, aria=False).encode(x, y, colour),
        efficient.mark_line(strokeWidth=1.2, strokeDash=[3, 3], color=theme.INK, aria=False).encode(x, y),
        theme.points(base, x, y, colour, shape, size=50),
        final.mark_rule(strokeWidth=1.6, aria=False).encode(alt.X("lo:Q"), alt.X2("hi:Q"), y, colour),
        label.encode(alt.X("flops:Q"), y),
    ]
    return theme.themed(
        alt.layer(*layers).properties(width=width - 78, height=340),
        f"Utility over training compute: {listed(models)}",
        f"Mean excess over step 0 of {level} categories at each checkpoint's best layer; shaded: 95 % bootstrap "
        "interval; dashed: efficient checkpoints, for which no other has more utility for less compute; bars: 90 % of "
        "the model's final utility, with 95 % interval",
        width,
        f"Utility against training compute for {listed(models)}, with the efficient checkpoints.",
    )
