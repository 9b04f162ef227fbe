"""Sources of late latents: shares of the trough layer, attention and MLPs, a bar per category."""

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme

_PARTS = {
    "share_carried": "present in the trough layer",
    "share_attn": "added by attention",
    "share_mlp": "added by MLPs",
}


def explained_categories(mechanism: pl.DataFrame, level: str, model: str) -> pl.DataFrame:
    """Select rows of `reactivation_mechanism` with defined shares, the largest share of the trough layer first."""
    rows = mechanism.filter(model=model, category_level=level)
    return rows.drop_nulls("share_carried").sort(["share_carried", "category"], descending=[True, False])


def shares_by_category(mechanism: pl.DataFrame, level: str, model: str, width: int = theme.WIDE) -> theme.Chart | None:
    """Draw stacked bars of the three shares; negative shares are left of zero.

    Args:
        mechanism: see `REACTIVATION_MECHANISM`.
        level: label level.
        model: the model whose last checkpoint is shown.
        width: pixels of the whole chart.
    """
    explained = explained_categories(mechanism, level, model)
    if explained.is_empty():
        return None
    long = (
        explained.select("category", *_PARTS)
        .unpivot(index="category", variable_name="part", value_name="share")
        .with_columns(
            pl.col("part").replace_strict(_PARTS), order=pl.col("part").replace_strict(list(_PARTS), [0, 1, 2])
        )
        .with_columns(note=pl.format("{}, {}: {}", "category", "part", pl.col("share").round(2)))
    )
    chart = (
        alt.Chart(theme.values(long))
        .mark_bar(opacity=0.9)
        .encode(
            alt.X("share:Q", title="share of the late latent's pre-activation", stack="zero"),
            alt.Y("category:N", sort=explained["category"].to_list(), title=None, axis=alt.Axis(labelLimit=150)),
            theme.colour_by(
                "part", list(_PARTS.values()), columns=3 if theme.is_wide(width) else 1, symbolType="square"
            ).sort(list(_PARTS.values())),
            alt.Order("order:Q"),
            alt.Description("note:N"),
        )
        .properties(width=width - (170 if theme.is_wide(width) else 128), height=alt.Step(17))
    )
    return theme.themed(
        chart,
        f"Sources of the late latents of {model}",
        "Mean on the held-out texts of the category minus mean on other texts, at the last step; the three shares sum "
        f"to 1. Shown: the {explained.height} categories whose presence drops most between an early and a late layer",
        width,
        f"Shares of trough layer, attention and MLPs in the late latents of {explained.height} categories of {model}.",
    )
