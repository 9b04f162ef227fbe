"""Categories that fade and return over depth: profiles with the deepest falls, reactivation index over steps."""

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme

MAX_CATEGORIES = 4
"""Number of profiles that are drawn; the table has all."""
_LINES = {"best latent": [1, 0], "random directions": [4, 2], "dense probe": [7, 3], "step 0": [2, 3]}
_HALF_WINDOW = 1 / 12
"""Half of the width of a window in relative depth, see `valleys.window_layers`."""


def falling_categories(reactivation: pl.DataFrame, level: str, model: str) -> pl.DataFrame:
    """Select the rows of the last step with the largest drop, enough layers and a gain at both ends."""
    rows = reactivation.filter("gate_layers", model=model, category_level=level, control_id="none", aggregate="none")
    last = rows.filter(pl.col("step") == pl.col("step").max(), pl.col("ri").is_not_null())
    return last.sort(["drop", "category"], descending=[True, False]).head(MAX_CATEGORIES)


def profiles_by_depth(
    reactivation: pl.DataFrame, space: pl.DataFrame, level: str, model: str, width: int = theme.WIDE
) -> theme.Chart | None:
    """Draw presence by relative depth at the last step, beside its controls; the valley is shaded.

    Args:
        reactivation: see `REACTIVATION`.
        space: see `EMERGENCE_OVER_SPACE`.
        level: label level.
        model: the model whose last checkpoint is shown.
        width: pixels of the whole chart.
    """
    shown = falling_categories(reactivation, level, model)
    if shown.is_empty():
        return None
    keys = ["model", "step", "control_id", "aggregate", "category_level", "category"]
    random = space.filter(control_id="random_encoder").with_columns(control_id=pl.lit("none"))
    profiles = shown.join(space, on=keys, how="left", maintain_order="left").join(
        random.select(*keys, profile_random="profile"), on=keys, how="left", nulls_equal=True, maintain_order="left"
    )
    columns = 4 if theme.is_wide(width) else 1
    chart_width = width // columns - 78 if columns > 1 else width - 78
    panels = [_panel(row, chart_width) for row in profiles.iter_rows(named=True)]
    return theme.themed(
        alt.concat(*panels, columns=columns),
        f"The {level} categories that fall most over the layers of {model} and return",
        "Last step. Shaded: the valley, located on the other half of the texts. Below a name: result of the criteria",
        width,
        f"Line charts of AUROC against relative depth for {shown.height} categories in {model}, beside its controls.",
    )


def index_over_steps(reactivation: pl.DataFrame, level: str, model: str, width: int = theme.WIDE) -> theme.Chart | None:
    """Draw the reactivation index of these categories against the training step; filled points meet all criteria.

    Args:
        reactivation: see `REACTIVATION`.
        level: label level.
        model: the model whose checkpoints are shown.
        width: pixels of the whole chart.
    """
    names = falling_categories(reactivation, level, model)["category"].to_list()
    if not names:
        return None
    rows = reactivation.filter(
        pl.col("category").is_in(names),
        pl.col("ri").is_not_null(),
        model=model,
        category_level=level,
        control_id="none",
    ).with_columns(
        x=theme.log_step(),
        note=pl.format("{}, step {}: {}, {}", "category", "step", pl.col("ri").round(2), "verdict"),
    )
    y = alt.Y("ri:Q", title="reactivation index (1: gain lost in the valley)")
    colour = theme.colour_by("category", names, columns=0 if theme.is_wide(width) else 2, symbolType="circle")
    base = alt.Chart(theme.values(rows.drop("model"))).encode(theme.step_x(rows["step"].to_list()), y, colour)
    points = base.mark_point(size=54, opacity=1, strokeWidth=2).encode(
        theme.shape_by("category", names), alt.Description("note:N")
    )
    chart = alt.layer(
        theme.level_rule(ri=0).encode(y),
        base.mark_line(strokeWidth=1.4, opacity=0.6, aria=False),
        points.transform_filter("!datum.passes_gate"),
        points.mark_point(size=54, opacity=1, filled=True).transform_filter("datum.passes_gate"),
    ).properties(width=width - 78, height=220)
    return theme.themed(
        chart,
        f"How far {level} categories fade and return in {model}, over training",
        "Share of the lower peak's gain that is lost in the valley; drawn where both peaks gain 0.05; filled: meets "
        "all criteria",
        width,
        f"Line chart of the reactivation index against training step for {len(names)} categories in {model}.",
    )


def _panel(row: dict[str, object], width: int) -> theme.Chart:
    """Draw one category: a line over depth for each profile that is known."""
    n_layers = int(str(row["n_layers"]))
    columns = ("profile", "profile_random", "profile_dense", "profile_step0")
    lists = {line: row[name] for line, name in zip(_LINES, columns, strict=True) if row[name] is not None}
    lines = pl.concat(
        pl.DataFrame({"layer": row["layers"], "p": line}, schema={"layer": pl.Int16, "p": pl.Float64}).with_columns(
            line=pl.lit(name)
        )
        for name, line in lists.items()
    ).filter(pl.col("layer") >= 0, pl.col("p").is_not_null())
    lines = lines.with_columns(
        u=(pl.col("layer") + 0.5) / n_layers,
        note=pl.format("layer {}, {}: {}", "layer", "line", pl.col("p").round(3)),
    )
    colour = theme.colour_by(
        "line", list(_LINES), [theme.SERIES[0], theme.SERIES[3], theme.SERIES[1], theme.CONTROL], **theme.LINE_LEGEND
    )
    x = alt.X("u:Q", title="relative depth", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=3))
    y = alt.Y("p:Q", title="AUROC", scale=alt.Scale(domain=[0.45, 1.0], clamp=True))
    centre = float(str(row["valley_depth"])) - 0.5 / n_layers
    ends = {"u": max(centre - _HALF_WINDOW, 0), "end": min(centre + _HALF_WINDOW, 1)}
    middle = alt.Chart(alt.Data(values=[ends])).mark_rect(opacity=0.18, color=theme.CONTROL, aria=False)
    base = alt.Chart(theme.values(lines))
    return alt.layer(
        middle.encode(x, alt.X2("end:Q")),
        base.mark_line(strokeWidth=2, strokeCap="butt", aria=False).encode(x, y, colour, theme.dash_by("line", _LINES)),
        theme.points(base, x, y, colour, size=26),
    ).properties(
        width=width,
        height=170,
        title=alt.TitleParams(
            str(row["category"]),
            subtitle=str(row["verdict"]),
            fontSize=12,
            color=theme.INK,
            subtitleColor=theme.QUIET,
            anchor="start",
        ),
    )
