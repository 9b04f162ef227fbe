"""Gain and net gain over the untrained network as heat maps: by layer for all models, by category for one."""

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme
from emergence_assets.report.charts.readings import gains_at_best_layer, gains_by_layer, models_by_size

_GAIN = "gain in AUROC over step 0"
_KINDS = {"gain": "gain", "net_gain": "net of random directions"}


def gain_by_layer(presence: pl.DataFrame, level: str, width: int = theme.WIDE) -> theme.Chart | None:
    """Draw the mean gain and net gain by layer and step, two panels per model on one colour scale.

    Args:
        presence: see `CATEGORY_PRESENCE`.
        level: label level whose categories are averaged.
        width: pixels of the whole chart.
    """
    gains = gains_by_layer(presence, level)
    if gains.is_empty():
        return None
    models = [model for model in models_by_size(presence) if model in gains["model"].unique()]
    kinds = [kind for kind in _KINDS if not gains[kind].is_null().all()]
    _, panel = theme.panel_grid(2, width, 62)
    colour = _gain_colour(gains, width)
    rows = []
    for model in models:
        panels = []
        for kind in kinds:
            shown = gains.filter(model=model).with_columns(
                value=pl.col(kind),
                note=pl.format("{}, layer {}, step {}: {}", "model", "layer", "step", pl.col(kind).round(3)),
            )
            height = min(max(28 * shown["layer"].n_unique(), 56), 320)
            axis = alt.Axis(labelOverlap="greedy", ticks=False, domain=False)
            y = alt.Y("layer:O", sort="descending", title="layer" if kind == kinds[0] else None, axis=axis)
            cells = alt.Chart(theme.values(shown)).mark_rect()
            cells = cells.encode(_step_columns(), y, colour, alt.Description("note:N"))
            title = theme.panel_title(f"{model}, {_KINDS[kind]}")
            panels.append(cells.properties(width=panel, height=height, title=title))
        rows.append(alt.hconcat(*panels) if theme.is_wide(width) else alt.vconcat(*panels))
    return theme.themed(
        alt.vconcat(*rows).resolve_scale(color="shared"),
        f"Gain over the untrained network, by layer and training step: {', '.join(models)}",
        f"Mean over {level} categories of the best latent's AUROC, minus this mean at step 0 in the same layer; net: "
        "minus the same change of random directions; layer 0 is the first block",
        width,
        "Heat maps of mean gain and net gain over step 0, layers by training steps, two panels per model.",
    )


def gain_by_category(presence: pl.DataFrame, level: str, model: str, width: int = theme.WIDE) -> theme.Chart | None:
    """Draw gain and net gain by category and step, each category at its own best layer, largest gain on top.

    Args:
        presence: see `CATEGORY_PRESENCE`.
        level: label level.
        model: the model that is shown.
        width: pixels of the whole chart.
    """
    gains = gains_at_best_layer(presence, level, model)
    if gains.is_empty():
        return None
    last = gains.filter(pl.col("step") == pl.col("step").max())
    order = last.sort(["gain", "category"], descending=[True, False])["category"].to_list()
    kinds = [kind for kind in _KINDS if not gains[kind].is_null().all()]
    beside = len(kinds) if theme.is_wide(width) else 1
    panel = int((width - (175 if theme.is_wide(width) else 128) - 20 * (beside - 1)) / beside)
    panels = []
    for kind in kinds:
        rows = gains.with_columns(
            value=pl.col(kind),
            note=pl.format("{}, layer {}, step {}: {}", "category", "layer", "step", pl.col(kind).round(3)),
            is_sure=(pl.col(f"{kind}_lo") > 0) | (pl.col(f"{kind}_hi") < 0),
        )
        named = beside == 1 or kind == kinds[0]
        axis = alt.Axis(labelLimit=150, labels=named, ticks=False, domain=False)
        y = alt.Y("category:N", sort=order, title=None, axis=axis)
        base = alt.Chart(theme.values(rows)).encode(_step_columns(), y)
        dots = base.mark_point(filled=True, size=7, color=theme.INK, opacity=0.75, aria=False)
        layers = alt.layer(
            base.mark_rect().encode(_gain_colour(gains, width), alt.Description("note:N")),
            dots.transform_filter("datum.is_sure"),
        )
        panels.append(layers.properties(width=panel, height=alt.Step(16), title=theme.panel_title(_KINDS[kind])))
    chart = alt.hconcat(*panels) if theme.is_wide(width) else alt.vconcat(*panels)
    return theme.themed(
        chart.resolve_scale(color="shared"),
        f"Gain over the untrained network, by {level} and training step in {model}",
        "Each category at its own best layer, chosen on the other half of the texts; net: minus the change of random "
        "directions; dot: 95 % interval excludes 0",
        width,
        f"Heat maps of gain and net gain over step 0, {len(order)} categories by training steps, in {model}.",
    )


def _step_columns() -> alt.X:
    return alt.X(
        "step:O",
        title="training step (a column per checkpoint)",
        axis=alt.Axis(
            labelAngle=0,
            labelExpr="format(datum.value, ',')",
            labelOverlap="greedy",
            labelSeparation=4,
            ticks=False,
            domain=False,
        ),
    )


def _gain_colour(gains: pl.DataFrame, width: int) -> alt.Color:
    # Symmetric, so that white is always a gain of 0.
    largest = max((abs(gain) for gain in gains["gain"].drop_nulls().to_list()), default=0.0)
    most = max(largest, 0.01)
    return alt.Color(
        "value:Q",
        title=_GAIN,
        scale=alt.Scale(
            domain=[-most, -most / 2, 0, most / 2, most], range=list(theme.GAIN_COLOURS), interpolate="rgb"
        ),
        legend=alt.Legend(gradientLength=260 if theme.is_wide(width) else 200, format="+.2f", tickCount=5),
    )
