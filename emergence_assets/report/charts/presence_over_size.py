"""Presence against model size, beside its controls, with the two sizes between which half of the rise lies."""

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme
from emergence_assets.report.charts.presence_over_time import AUROC_AXIS, auroc_scale, listed
from emergence_assets.report.charts.readings import size_points, size_row


def presence_over_size(scale: pl.DataFrame, level: str, width: int = theme.WIDE) -> theme.Chart | None:
    """Draw the mean AUROC of the best latent at equal training tokens against the number of parameters, with controls.

    The band reaches from the largest size with an upper bound below the middle of the rise to the smallest size with a
    lower bound above it.

    Args:
        scale: see `EMERGENCE_OVER_SCALE`.
        level: label level whose categories are averaged.
        width: pixels of the whole chart.
    """
    points = size_points(scale, level)
    if points.is_empty():
        return None
    shuffled, random = (size_points(scale, level, control) for control in ("label_shuffle", "random_encoder"))
    bow = points["p_bow"].drop_nulls().mean()
    models = points.sort("n_params_nonemb", "model")["model"].to_list()
    kinds = {
        "best latent": points.select("model", "n_params_nonemb", "lo", "hi", p="p_best"),
        "random directions": random.select("model", "n_params_nonemb", p="p_best"),
        "step 0": points.select("model", "n_params_nonemb", p="p_step0"),
        "dense probe": points.select("model", "n_params_nonemb", p="p_dense"),
        "bag of words": points.select("model", "n_params_nonemb", p=pl.lit(bow, pl.Float64)),
        "shuffled labels": shuffled.select("model", "n_params_nonemb", p="p_best"),
    }
    long = pl.concat(
        [rows.with_columns(pl.col("p").cast(pl.Float64), kind=pl.lit(kind)) for kind, rows in kinds.items()],
        how="diagonal_relaxed",
    ).drop_nulls("p")
    long = long.with_columns(
        note=pl.format("{}, {}: {}", "model", "kind", pl.col("p").round(3)),
        label=pl.when(pl.col("kind") == "best latent").then("model"),
    )
    shown = [kind for kind in kinds if kind in long["kind"].unique()]
    series = [theme.SERIES[number] for number in (0, 3, 5, 1, 2)]
    colours = dict(zip(kinds, [*series, theme.CONTROL], strict=True))
    colour = theme.colour_by("kind", shown, [colours[kind] for kind in shown], columns=0 if theme.is_wide(width) else 2)
    n = points["n_params_nonemb"]
    span = [float(n.min() or 1) / 1.6, float(n.max() or 1) * 1.6]  # pyright: ignore[reportArgumentType]
    base = alt.Chart(theme.values(long)).encode(
        alt.X(
            "n_params_nonemb:Q",
            scale=alt.Scale(type="log", domain=span, nice=False),
            axis=alt.Axis(
                title="parameters without embeddings, log scale", format=".3~s", values=n.to_list(), grid=False
            ),
        ),
        colour,
    )
    y_scale = auroc_scale(long["p"], long["lo"])
    y, low = alt.Y("p:Q", scale=y_scale, title=AUROC_AXIS), alt.Y("lo:Q", scale=y_scale, title=AUROC_AXIS)
    bracket = size_row(scale, level).select("n_lo", "n_hi").drop_nulls()
    shaded = alt.Chart(theme.values(bracket)).mark_rect(color=theme.SERIES[0], opacity=0.12, aria=False)
    shapes = dict(zip(kinds, theme.SHAPES, strict=False))
    shape_scale = alt.Scale(domain=shown, range=[shapes[kind] for kind in shown])
    shape = alt.Shape("kind:N", title=None, scale=shape_scale)
    labels = base.mark_text(dy=-22 if theme.is_wide(width) else -18, fontSize=12, aria=False)
    layers = [
        shaded.encode(alt.X("n_lo:Q"), alt.X2("n_hi:Q")),
        theme.level_rule(p=0.5).encode(y),
        base.mark_line(strokeWidth=1.4, opacity=0.7, aria=False).encode(y),
        base.mark_rule(strokeWidth=2.5, aria=False).encode(low, alt.Y2("hi:Q")).transform_filter("isValid(datum.lo)"),
        theme.points(base, y, shape, size=80),
        labels.encode(y, text="label:N", color=alt.value(theme.INK)).transform_filter("isValid(datum.label)"),
    ]
    tokens = points["tokens_seen"].to_list()
    band = "; shaded: half of the rise lies between these sizes" if bracket.height else ""
    chart = alt.layer(*layers).properties(width=width - 78, height=340)
    return theme.themed(
        chart,
        f"Best latent for a {level} by model size: {listed(models)} and the controls",
        f"Mean over {level} categories at each model's best layer, after about {max(tokens):,} tokens; "
        f"bars: 95 % bootstrap interval{band}"
        if tokens
        else "",
        width,
        f"Mean AUROC of the best latent against non-embedding parameters for {listed(models)}, with controls.",
    )
