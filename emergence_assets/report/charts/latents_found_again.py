"""Share of latents that are found again at the next checkpoint: raw share, ceiling, their ratio, survival."""

from collections.abc import Iterable, Sequence

import altair as alt
import polars as pl

from emergence_assets.report.charts import theme

_SHARES = {
    "next checkpoint, another seed": (theme.SERIES[0], [1, 0]),
    "same checkpoint, another seed (ceiling)": (theme.SERIES[1], [7, 3]),
    "next checkpoint, same seed (inertia)": (theme.CONTROL, [2, 3]),
}
_PERSISTENCE = {"ratio to the ceiling": (theme.SERIES[0], [1, 0]), "survival": (theme.SERIES[2], [7, 3])}


def stability_rows(stability: pl.DataFrame, model: str) -> pl.DataFrame:
    """Select transitions between neighbouring checkpoints of one model, over all layers and latents with support."""
    return stability.filter(pl.col("layer").is_null(), model=model, axis="step", population="firing").sort("step_to")


def latents_found_again(stability: pl.DataFrame, model: str, width: int = theme.WIDE) -> theme.Chart | None:
    """Draw shares of latents found again against the training step, beside their ratio to the ceiling and survival.

    Args:
        stability: see `LINEAGE_STABILITY`.
        model: the model that is shown.
        width: pixels of the whole chart.
    """
    rows = stability_rows(stability, model)
    if rows.is_empty():
        return None
    other, same = (rows.filter(pairing=pairing) for pairing in ("other_seed", "same_seed"))
    shares = ((other, "s_raw"), (other, "s_ceiling"), (same, "s_raw"))
    persistence = ((other, "s_norm"), (other, "survival"))
    steps = rows["step_to"].to_list()
    wide = theme.is_wide(width)
    # With one SAE seed there is no ceiling, and no ratio to it.
    drawn = [
        (_lines(shares, _SHARES), _SHARES, "share of latents", "Found again"),
        (_lines(persistence, _PERSISTENCE), _PERSISTENCE, "ratio", "Persistence: ratio to the ceiling"),
    ]
    drawn = [part for part in drawn if not part[0].is_empty()]
    panel = (width - 85 * len(drawn)) // len(drawn) if wide else width - 78
    panels = [_panel(*part, steps, panel) for part in drawn]
    joined = alt.hconcat(*panels) if wide else alt.vconcat(*panels)
    return theme.themed(
        joined.resolve_scale(color="independent", strokeDash="independent"),
        f"Latents of {model} that are found again at the next checkpoint",
        "All layers together; 95 % intervals over latents; no ratio where the ceiling is below 0.1",
        width,
        f"Line charts of the share of latents of {model} found again by another SAE seed at the next checkpoint, with "
        "the ceiling of another seed at the same checkpoint, the same seed, their ratio and survival.",
    )


def _lines(columns: Sequence[tuple[pl.DataFrame, str]], names: Iterable[str]) -> pl.DataFrame:
    """Make a line of every column, with the columns step, y, y_lo, y_hi and line."""
    return pl.concat(
        rows.select(
            pl.col("step_to").alias("step"),
            *(pl.col(f"{column}{end}").cast(pl.Float64).alias(f"y{end}") for end in ("", "_lo", "_hi")),
            line=pl.lit(name),
        )
        for (rows, column), name in zip(columns, names, strict=True)
    ).drop_nulls("y")


def _panel(
    rows: pl.DataFrame, lines: dict[str, tuple[str, list[int]]], title: str, heading: str, steps: list[int], width: int
) -> theme.Chart:
    noted = rows.with_columns(
        x=theme.log_step(), note=pl.format("{}, step {}: {}", "line", "step", pl.col("y").round(3))
    )
    shown = [name for name in lines if name in rows["line"].unique()]
    base = alt.Chart(theme.values(noted)).encode(
        theme.step_x(steps),
        theme.colour_by(
            "line", shown, [lines[name][0] for name in shown], orient="bottom", columns=1, **theme.LINE_LEGEND
        ),
    )
    scale = alt.Scale(zero=True)
    y, low = alt.Y("y:Q", title=title, scale=scale), alt.Y("y_lo:Q", title=title, scale=scale)
    layers = [
        base.mark_rule(opacity=0.5, aria=False).encode(low, alt.Y2("y_hi:Q")).transform_filter("isValid(datum.y_lo)"),
        base.mark_line(strokeWidth=2, aria=False).encode(
            y, theme.dash_by("line", {name: lines[name][1] for name in shown})
        ),
        theme.points(base, y, size=40),
    ]
    if title == "ratio":
        layers.insert(0, theme.level_rule(y=1).encode(y))
    return alt.layer(*layers).properties(width=width, height=240, title=theme.panel_title(heading))
