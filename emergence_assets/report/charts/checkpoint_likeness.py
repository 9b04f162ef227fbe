"""Similarity of the checkpoints of a model, as a step × step heat map."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme

LIKENESS = ("#f4f4f2", "#a6c8e4", "#5b94c9", "#08519c", "#08213f")
"""From unrelated (cosine 0) to equal (cosine 1)."""
MAX_PANELS = 3


def cosine_heat_map(registry: pl.DataFrame, models: Sequence[str], width: int = theme.WIDE) -> theme.Chart | None:
    """Draw the cosine of the weights between all steps, a panel per model; cells of steps left out are crossed.

    Args:
        registry: see `REGISTRY`.
        models: the models that are shown, in this order.
        width: pixels of the whole chart.
    """
    if not models:
        return None
    columns, panel = theme.panel_grid(len(models), width, 70)
    panels = [_panel(registry, model, panel, position % columns == 0) for position, model in enumerate(models)]
    return theme.themed(
        alt.concat(*panels, columns=columns).resolve_scale(color="shared"),
        f"Similarity of the checkpoints: {', '.join(models)}",
        "Cosine between the weights of every two steps, from a sample of every tensor group; crossed: left out",
        width,
        "Heat maps of the cosine between the weights of every two training steps, one panel per model.",
    )


def models_worth_showing(registry: pl.DataFrame) -> list[str]:
    """Choose at most a row of panels: first the models with a checkpoint left out, then the largest."""
    sizes = registry.group_by("model", maintain_order=True).agg(
        pl.col("n_params").max(), out=(~pl.col("on_time_axis")).any()
    )
    measured = sizes.filter(pl.col("n_params").is_not_null())
    chosen = measured.sort(["out", "n_params", "model"], descending=[True, True, False]).head(MAX_PANELS)
    return chosen.sort("n_params", "model")["model"].to_list()


def registry_picture(registry: pl.DataFrame, model: str) -> bytes | None:
    """Draw the heat map of one model as PNG; None when fewer than two checkpoints were measured."""
    measured = registry.filter(pl.col("cosines").list.len() > 1, model=model)
    chart = cosine_heat_map(registry, measured["model"].unique().to_list(), 560)
    return None if chart is None else theme.chart_png(chart.to_dict(), ppi=72)


def _panel(registry: pl.DataFrame, model: str, size: int, with_title: bool) -> theme.Chart:
    rows = registry.filter(pl.col("cosines").list.len() > 0, model=model).sort("step")
    steps = rows["step"].to_list()
    out = rows.filter(~pl.col("on_time_axis"))["step"].to_list()
    pairs = rows.select("step", other="cosine_steps", cosine="cosines").explode("other", "cosine")
    pairs = pairs.with_columns(
        note=pl.format("{}, steps {} and {}: {}", pl.lit(model), "step", "other", pl.col("cosine").round(3)),
        is_out=pl.col("step").is_in(out) | pl.col("other").is_in(out),
    )
    axis = {"labelOverlap": "greedy", "labelSeparation": 4, "ticks": False, "domain": False}
    base = alt.Chart(theme.values(pairs)).encode(
        alt.X("other:O", sort=steps, title="training step", axis=alt.Axis(labelAngle=0, **axis)),
        alt.Y("step:O", sort=steps[::-1], title="training step" if with_title else None, axis=alt.Axis(**axis)),
    )
    colour = alt.Color(
        "cosine:Q",
        title="cosine",
        scale=alt.Scale(domain=[0, 0.25, 0.5, 0.75, 1], range=list(LIKENESS), interpolate="rgb", clamp=True),
        legend=alt.Legend(gradientLength=240, format=".2f", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    crosses = base.mark_point(shape="cross", angle=45, size=min(60, size * 4 // max(len(steps), 1)), filled=True)
    visible = alt.condition("datum.cosine > 0.5", alt.value(LIKENESS[0]), alt.value(LIKENESS[-1]))
    both = alt.layer(
        base.mark_rect().encode(colour, alt.Description("note:N")),
        crosses.encode(color=visible).transform_filter("datum.is_out"),
    )
    return both.properties(width=size, height=size, title=theme.panel_title(model))
