"""AUROC at the last step beside every control, mean over categories, in the best layer of the level."""

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme

NAMES = {
    "step0": "untrained network (step 0)",
    "label_shuffle": "shuffled labels",
    "label_shuffle_within_length": "shuffled within text length",
    "reinit_keep_embed": "reinitialised, embeddings kept",
    "random_encoder": "random encoder",
    "dict_gauss": "SAE of Gaussian rows",
    "dict_frozen_decoder": "SAE with frozen decoder",
    "text_wordshuffle": "words in random order",
    "best_word": "best single word",
    "bow": "bag of words (probe)",
    "dense": "dense probe",
}


def control_means(controls: pl.DataFrame, level: str) -> pl.DataFrame:
    """Select the means over categories: model, layer, control_id, p_best, p_measured, above_control."""
    means = controls.filter(category_level=level, aggregate="mean")
    return means.sort("n_params_nonemb", "model", "control_id")


def controls_at_last_step(controls: pl.DataFrame, level: str, width: int = theme.WIDE) -> theme.Chart | None:
    """Draw a row per control and a panel per model: the control as a point, the measurement as a vertical line.

    Args:
        controls: see `CATEGORY_CONTROLS`.
        level: label level whose categories are averaged.
        width: pixels of the whole chart.
    """
    means = control_means(controls, level).with_columns(name=pl.col("control_id").replace_strict(NAMES))
    if means.is_empty():
        return None
    rounded = pl.col("p_best").round(3), pl.col("p_measured").round(3)
    means = means.with_columns(note=pl.format("{}: {} {}, measured {}", "model", "name", *rounded))
    models = means["model"].unique(maintain_order=True).to_list()
    shown = [name for control, name in NAMES.items() if control in means["control_id"].unique()]
    columns = min(len(models), 3 if theme.is_wide(width) else 1) or 1
    panel = int((width - (220 if columns > 1 else 200) - 20 * columns) / columns)
    panels = []
    for position, model in enumerate(models):
        named = position % columns == 0
        base = alt.Chart(theme.values(means.filter(model=model)))
        y = alt.Y("name:N", sort=shown, title=None, axis=alt.Axis(labelLimit=210, labels=named, ticks=named))
        x = alt.X("p_best:Q", title="mean AUROC", scale=alt.Scale(domain=[0.4, 1], clamp=True))
        layers = alt.layer(
            base.mark_rule(color=theme.SERIES[0], strokeWidth=2.5, aria=False).encode(alt.X("mean(p_measured):Q")),
            base.mark_rule(color=theme.CONTROL, aria=False).encode(x, y, alt.X2("p_measured:Q")),
            theme.points(base, x, y, size=55, color=theme.INK),
        )
        size = {"width": max(panel, 90), "height": 22 * len(shown)}
        panels.append(layers.properties(**size, title=theme.panel_title(model)))
    rows = [alt.hconcat(*panels[start : start + columns]) for start in range(0, len(panels), columns)]
    return theme.themed(
        alt.vconcat(*rows),
        "The last checkpoint beside every control",
        "Mean over categories, in the best layer of each model. Blue line: measured AUROC of the best latent; points: "
        "AUROC of each control",
        width,
        "Dot plot with a row per control and a panel per model; a vertical line marks the measured AUROC.",
    )
