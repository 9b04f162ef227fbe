"""Charts of the explorer: presence of a category over steps, layers and sizes, beside its controls."""

import altair as alt
import polars as pl

import emergence_assets as ea
from emergence_assets.report.charts.theme import CONTROL, SERIES, Chart

ROWS = {"none": "best latent", "random_encoder": "random encoder", "label_shuffle": "shuffled labels"}
_COLOURS = alt.Scale(
    domain=["best latent", "dense probe", "random encoder", "shuffled labels"], range=[*SERIES[:2], CONTROL, "#b8b8b8"]
)
_WHOLE = alt.Axis(format="~s", tickMinStep=1, tickCount=6)
_AUROC = alt.Scale(domain=[0.4, 1.0], clamp=True)


def presence_of(study: ea.StudyResults, model: str, level: str, category: str) -> pl.DataFrame:
    """Return the rows of one category of one model, over all steps, layers and controls."""
    rows = study.scan("category_presence").filter(model=model, category_level=level, category=category)
    columns = ("step", "layer", "control_id", "p_best", "p_best_lo", "p_best_hi", "p_dense", "net")
    return rows.select(columns).collect().with_columns(what=pl.col("control_id").replace(ROWS))


def heat_map(rows: pl.DataFrame, value: str = "p_best") -> alt.Chart:
    """Return steps × layers, coloured by presence; a cell can be clicked."""
    measured = rows.filter(control_id="none").with_columns(step_name=pl.col("step").cast(pl.String))
    steps = measured.sort("step")["step_name"].unique(maintain_order=True).to_list()
    scale = (
        alt.Scale(scheme="viridis", domain=[0.5, 1.0], clamp=True)
        if value == "p_best"
        else alt.Scale(scheme="brownbluegreen", domainMid=0)
    )
    return (
        alt.Chart(measured)
        .mark_rect()
        .encode(
            x=alt.X("step_name:O", sort=steps, title="training step", axis=alt.Axis(labelOverlap=True)),
            y=alt.Y("layer:O", sort="descending", title="layer", axis=alt.Axis(labelOverlap=True)),
            color=alt.Color(f"{value}:Q", scale=scale, title={"p_best": "AUROC", "net": "net of random"}[value]),
            tooltip=["step:Q", "layer:Q", alt.Tooltip("p_best:Q", format=".3f"), alt.Tooltip("net:Q", format="+.3f")],
        )
        .properties(width=300, height=230)
    )


def _lines(rows: pl.DataFrame, x: str, title: str, scale: alt.Scale) -> Chart:
    dense = rows.filter(control_id="none").with_columns(
        what=pl.lit("dense probe"), p_best=pl.col("p_dense"), p_best_lo=None, p_best_hi=None
    )
    every = pl.concat([rows, dense], how="vertical_relaxed")
    base = alt.Chart(every).encode(
        x=alt.X(f"{x}:Q", title=title, scale=scale, axis=alt.Axis(format="~s", tickMinStep=1, labelOverlap=True)),
        color=alt.Color(
            "what:N", scale=_COLOURS, title=None, legend=alt.Legend(orient="bottom", columns=2, symbolOpacity=1)
        ),
    )
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("p_best_lo:Q", scale=_AUROC), y2="p_best_hi:Q")
    line = base.mark_line(point=True).encode(
        y=alt.Y("p_best:Q", scale=_AUROC, title="AUROC"),
        tooltip=["what:N", f"{x}:Q", alt.Tooltip("p_best:Q", format=".3f")],
    )
    return (band + line).properties(width=250, height=230)


def over_steps(rows: pl.DataFrame, layer: int) -> Chart:
    """Return presence over training at one layer, with intervals and controls."""
    return _lines(rows.filter(layer=layer), "step", "training step", alt.Scale(type="symlog"))


def over_layers(rows: pl.DataFrame, step: int) -> Chart:
    """Return presence over the depth at one step, with intervals and controls."""
    return _lines(rows.filter(step=step), "layer", "layer", alt.Scale(zero=False))


def over_sizes(study: ea.StudyResults, level: str, category: str) -> alt.Chart | None:
    """Return the best presence of a category in each model at its last step; None for one model."""
    rows = study.scan("category_presence").filter(category_level=level, category=category, control_id="none")
    last = rows.filter(pl.col("step") == pl.col("step").max().over("model"))
    best = (
        last.group_by("model", "n_params_nonemb", maintain_order=True)
        .agg(pl.col("p_best").max(), pl.col("p_random").max())
        .collect()
    )
    if best.height < 2:
        return None
    return (
        alt.Chart(best.sort("n_params_nonemb"))
        .mark_line(point=True)
        .encode(
            x=alt.X("n_params_nonemb:Q", scale=alt.Scale(type="log"), title="parameters without embedding"),
            y=alt.Y("p_best:Q", scale=_AUROC, title="AUROC of the best layer"),
            tooltip=["model:N", alt.Tooltip("p_best:Q", format=".3f")],
        )
        .properties(width=340, height=160)
    )


def sae_quality(metrics: pl.DataFrame) -> alt.HConcatChart:
    """Return FVU, L0 and dead latents of the SAEs of one model over steps and layers, means over seeds.

    Args:
        metrics: rows of `sae_metrics` of one model.
    """
    cells = metrics.group_by("step", "layer", maintain_order=True).agg(pl.col("fvu", "l0", "dead_frac").mean())
    steps = cells.sort("step")["step"].unique(maintain_order=True).cast(pl.String).to_list()
    base = alt.Chart(cells.with_columns(step_name=pl.col("step").cast(pl.String))).mark_rect()
    titles = {"fvu": "FVU", "l0": "L0", "dead_frac": "dead latents"}
    return alt.hconcat(
        *(
            base.encode(
                x=alt.X("step_name:O", sort=steps, title="training step", axis=alt.Axis(labelOverlap=True)),
                y=alt.Y("layer:O", sort="descending", title="layer", axis=alt.Axis(labelOverlap=True)),
                color=alt.Color(f"{name}:Q", title=title, scale=alt.Scale(scheme="viridis")),
                tooltip=["step:Q", "layer:Q", *(alt.Tooltip(f"{one}:Q", format=".3f") for one in titles)],
            ).properties(width=260, height=220, title=title)
            for name, title in titles.items()
        )
    ).resolve_scale(color="independent")
