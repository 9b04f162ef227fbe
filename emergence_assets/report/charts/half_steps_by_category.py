"""Half-rise step of each category that has emerged, with its interval.

`gains.py` draws the same categories as a heat map over all steps; `html_tables.py` lists them.
"""

import math
from collections.abc import Mapping

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme
from emergence_assets.report.charts.readings import category_histories

_PAPER = "#ffffff"


def half_steps_by_category(
    time: pl.DataFrame, level: str, model: str, domains: Mapping[str, str] | None = None, width: int = theme.WIDE
) -> theme.Chart | None:
    """Draw the half-rise step of each dated category at the model's best layer, with interval and onset as a tick.

    Args:
        time: `supported_histories` of `EMERGENCE_OVER_TIME`.
        level: label level.
        model: the model that is shown.
        domains: category to the group that gives its colour; by default all categories have one colour.
        width: pixels of the whole chart.
    """
    every = category_histories(time, level, model)
    shown = every.filter(pl.col("emerged"), pl.col("is_dated")).sort("half_step", "category")
    if shown.is_empty():
        return None
    groups = domains or {}
    steps = ("half_step", "half_step_lo", "half_step_hi", "onset_step")
    rows = shown.select(
        "category",
        *(theme.log_step(name).alias(name) for name in steps),
        domain=pl.Series([groups.get(name, "other") for name in shown["category"]], dtype=pl.String),
        is_rising=pl.col("censor") == "right",
        note=pl.format(
            "{}: half-rise at step {} ({} to {}), onset at step {}",
            "category",
            *(pl.col(name).round(0).cast(pl.Int64) for name in steps),
        ),
    )
    names = sorted(rows["domain"].unique())
    last = max(every["step_last"].to_list(), default=1)
    measured = {0, *time.filter(model=model)["grid_hi_step"].drop_nulls().to_list(), last}
    x_scale = alt.Scale(domain=[0, math.log10(last + 1)], nice=False, clamp=True)
    axis = theme.step_axis(sorted(measured), "half-rise step, log scale")
    colour = theme.colour_by("domain", names, columns=5 if theme.is_wide(width) else 3, symbolType="circle")
    base = alt.Chart(theme.values(rows)).encode(
        alt.Y("category:N", sort=rows["category"].to_list(), title=None, axis=alt.Axis(grid=True, labelLimit=150)),
        colour if groups else colour.legend(None),
    )
    point = base.mark_point(size=54, opacity=1, strokeWidth=2, filled=False, fill=_PAPER).encode(
        alt.X("half_step:Q", scale=x_scale, axis=axis), alt.Description("note:N")
    )
    layers = [
        base.mark_rule(strokeWidth=2, opacity=0.8, aria=False).encode(
            alt.X("half_step_lo:Q", scale=x_scale, axis=axis), alt.X2("half_step_hi:Q")
        ),
        base.mark_tick(thickness=2, size=9, aria=False).encode(
            alt.X("onset_step:Q", axis=axis), color=alt.value(theme.INK)
        ),
        point.transform_filter("datum.is_rising"),
        point.mark_point(size=54, opacity=1, strokeWidth=2, filled=True).transform_filter("!datum.is_rising"),
    ]
    layer = every["layer"].to_list()[:1]
    chart = alt.layer(*layers).properties(width=width - (170 if theme.is_wide(width) else 128), height=alt.Step(17))
    return theme.themed(
        chart,
        f"When each {level} emerges in {model}",
        f"Layer {', '.join(map(str, layer))}. Drawn: the {rows.height} of {every.height} categories that have emerged "
        "and are dated within a decade. Point: half-rise step with 95 % interval, open if still rising at the last "
        "step; tick: onset (10 %)",
        width,
        f"Half-rise step, with interval, of {rows.height} categories in {model}, earliest first.",
    )
