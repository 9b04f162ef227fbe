"""Loss of a model on texts of each category without the category's best latent, beside other latents."""

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme

_LATENTS = {
    "use": "best latent of the category",
    "use_control": "equally strong latents",
    "use_random": "best latents of random encoders",
}
_COLOURS = (theme.SERIES[0], theme.CONTROL, theme.SERIES[1])


def removed_categories(use: pl.DataFrame, level: str, model: str) -> pl.DataFrame:
    """Select the single categories of `feature_use` of one level and model, the largest use first."""
    rows = use.filter(model=model, category_level=level, aggregate="none")
    return rows.sort(["use", "category"], descending=[True, False])


def use_by_category(
    use: pl.DataFrame, claims: pl.DataFrame, level: str, model: str, width: int = theme.WIDE
) -> theme.Chart | None:
    """Draw the use of each category's best latent with its interval, and that of the two controls as points.

    Args:
        use: see `FEATURE_USE`.
        claims: see `CLAIMS`; a category whose claim has grade A or B has a filled point.
        level: label level.
        model: the model that is shown.
        width: pixels of the whole chart.
    """
    shown = removed_categories(use, level, model)
    if shown.is_empty():
        return None
    granted = claims.filter(pl.col("grade").is_in(["A", "B"]), kind="use", model=model, category_level=level)
    shown = shown.with_columns(is_granted=pl.col("category").is_in(granted["category"].drop_nulls().to_list()))
    long = (
        shown.select("category", "is_granted", "use_lo", "use_hi", *_LATENTS)
        .unpivot(
            index=["category", "is_granted", "use_lo", "use_hi"], on=list(_LATENTS), variable_name="of", value_name="x"
        )
        .drop_nulls("x")
        .with_columns(latent=pl.col("of").replace_strict(_LATENTS))
        .with_columns(
            note=pl.format("{}, {}: {} nats per token", "category", "latent", pl.col("x").round(4)),
            is_filled=pl.col("is_granted") | (pl.col("of") != "use"),
        )
    )
    colour = theme.colour_by(
        "latent",
        list(_LATENTS.values()),
        _COLOURS,
        columns=3 if theme.is_wide(width) else 1,
        symbolType="circle",
    )
    base = alt.Chart(theme.values(long)).encode(
        alt.Y("category:N", sort=shown["category"].to_list(), title=None, axis=alt.Axis(grid=True, labelLimit=150)),
        colour,
    )
    x = alt.X("x:Q", title="use, nats per token", axis=alt.Axis(tickCount=6))
    point = base.mark_point(size=50, opacity=1, strokeWidth=2).encode(x, alt.Description("note:N"))
    chart = alt.layer(
        theme.level_rule(x=0).encode(alt.X("x:Q")),
        base.transform_filter("datum.of == 'use'")
        .mark_rule(strokeWidth=2, opacity=0.8, aria=False)
        .encode(alt.X("use_lo:Q"), alt.X2("use_hi:Q")),
        point.transform_filter("!datum.is_filled"),
        point.mark_point(size=50, opacity=1, strokeWidth=2, filled=True).transform_filter("datum.is_filled"),
    ).properties(width=width - (170 if theme.is_wide(width) else 128), height=alt.Step(17))
    layer = shown["layer"].to_list()[0]
    n_granted = int(shown["is_granted"].sum())
    return theme.themed(
        chart,
        f"What {model} loses without the best latent of a {level}",
        "Use: rise of the loss on texts of the category minus its rise on other texts, "
        f"layer {layer}, last step. Drawn: the {shown.height} categories that rise net of random directions. Blue: the "
        f"best latent with 95 % interval over texts and seeds, filled for the {n_granted} categories whose claim has "
        "grade A or B",
        width,
        f"Rise of the loss without the best latent, with two controls, for {shown.height} categories of {model}.",
    )
