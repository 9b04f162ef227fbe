"""Quality of the SAEs and of their rows over training and layers."""

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme

_METRICS = {
    "fvu": "FVU",
    "dead_frac": "share of dead latents",
    "participation_ratio": "effective dimension",
    "pw_mcc": "agreement of seeds",
}


def sae_quality(sae_metrics: pl.DataFrame, models: list[str], width: int = theme.WIDE) -> theme.Chart | None:
    """Draw four metrics against the training step, a row per metric, a line per layer, a column per model.

    Args:
        sae_metrics: see `SAE_METRICS`; one row per SAE, seeds are averaged.
        models: the columns, in this order.
        width: pixels of the whole chart.
    """
    if not models:
        return None
    rows = (
        sae_metrics.group_by("model", "step", "layer", "n_layers", maintain_order=True)
        .agg(pl.col(*_METRICS).cast(pl.Float64).fill_nan(None).mean())
        .sort("model", "layer", "step")
        .with_columns(
            x=theme.log_step(), depth=pl.col("layer") / pl.max_horizontal(pl.col("n_layers").cast(pl.Int64) - 1, 1)
        )
    )
    columns, panel = theme.panel_grid(len(models), width, 74)
    panels: list[alt.HConcatChart] = []
    for start in range(0, len(models), columns):
        for metric, title in _METRICS.items():
            if rows[metric].is_null().all():  # one SAE seed agrees with no other
                continue
            top = rows[metric].drop_nulls().max()
            scale = alt.Scale(domain=[0, max(float(top or 0.0) * 1.05, 0.05)], nice=True)  # pyright: ignore[reportArgumentType]
            shown = models[start : start + columns]
            row = (_panel(rows.filter(model=model), metric, title, model, scale, panel) for model in shown)
            panels.append(alt.hconcat(*row))
    return theme.themed(
        alt.vconcat(*panels).resolve_scale(color="shared"),
        "SAE quality over training, by model and layer",
        "Mean over SAE seeds. FVU: fraction of variance unexplained on held-out activations; "
        "dead: active on none of the last training tokens; effective dimension: participation ratio of the rows; "
        "agreement: mean cosine of matched latents of two seeds",
        width,
        "Line charts of FVU, dead latents, dimension of rows and agreement of seeds against step, per model and layer.",
    )


def _panel(rows: pl.DataFrame, metric: str, title: str, model: str, scale: alt.Scale, width: int) -> theme.Chart:
    noted = rows.drop_nulls(metric).with_columns(
        note=pl.format("{}, layer {}, step {}: {}", "model", "layer", "step", pl.col(metric).round(3))
    )
    base = alt.Chart(theme.values(noted)).encode(
        theme.step_x(rows["step"].to_list()),
        alt.Y(f"{metric}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=4)),
        alt.Color(
            "depth:Q",
            title="layer, by relative depth",
            scale=alt.Scale(domain=[0, 0.5, 1], range=list(theme.DEPTH_COLOURS), interpolate="rgb", clamp=True),
            legend=alt.Legend(
                values=[0, 0.5, 1],
                labelExpr="datum.value < 0.25 ? 'first' : datum.value < 0.75 ? 'middle' : 'last'",
            ),
        ),
    )
    return alt.layer(
        base.mark_line(strokeWidth=1.8, aria=False).encode(alt.Detail("layer:N")),
        theme.points(base, size=30),
    ).properties(width=width, height=140, title=theme.panel_title(model))
