"""Look of every chart, and export as PNG and SVG: colours, sizes, titles."""

import html
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import altair as alt
import polars as pl
import vl_convert

Chart: TypeAlias = alt.Chart | alt.LayerChart | alt.HConcatChart | alt.VConcatChart | alt.ConcatChart | alt.FacetChart
WIDE = 940
"""Width in pixels of a chart on a desktop screen or in a talk."""
NARROW = 350
"""Width in pixels of the same chart on a phone."""
COLOURS = {
    # name: (on light paper, on dark paper)
    "paper": ("#ffffff", "#14181d"),
    "ink": ("#1d2530", "#e8ebee"),
    "quiet": ("#535d69", "#a7b1bc"),
    "rule": ("#e4e7eb", "#2f3740"),
    "control": ("#7a8590", "#8f9aa6"),
    # Okabe and Ito's colours, which differ for colour-blind readers too; light yellow and black are left out.
    "series1": ("#0072b2", "#4aa8e0"),
    "series2": ("#d55e00", "#f0883e"),
    "series3": ("#009e73", "#2fc79b"),
    "series4": ("#b9598c", "#dd8ab8"),
    # Four more after Tol's muted scheme, for the nine domains of the WordNet probe set.
    "series5": ("#8a7d12", "#c8ba4c"),
    "series6": ("#56b4e9", "#8fd0f5"),
    "series7": ("#5b4ab5", "#9d90ea"),
    "series8": ("#882255", "#c9588f"),
    "series9": ("#117733", "#55b573"),
}
"""Every colour that is not part of a gradient. All differ, because the page replaces each by its dark version."""
INK, QUIET, RULE, CONTROL = (COLOURS[name][0] for name in ("ink", "quiet", "rule", "control"))
SERIES = tuple(light for name, (light, _) in COLOURS.items() if name.startswith("series"))
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right", "triangle-left")
GAIN_COLOURS = ("#b35806", "#f3b46b", "#f4f4f2", "#74a9d6", "#08519c")
"""From a loss over no change to a gain: brown and blue differ for colour-blind readers and in grey."""
DEPTH_COLOURS = ("#dd8a1c", "#b5548c", "#3a76c4")
"""First to last layer, of middle lightness, visible on light and dark paper."""
FONT = "Arial, Helvetica, Liberation Sans, sans-serif"
_TITLE_PIXELS, _SUBTITLE_PIXELS = 8.1, 6.3  # mean width of a character at the font sizes below


def colours_of(names: Sequence[str]) -> list[str]:
    """Assign a colour to each name, in order; colours repeat when there are more names than colours."""
    return [SERIES[i % len(SERIES)] for i in range(len(names))]


def is_wide(width: int) -> bool:
    """Return whether a chart of this width in pixels is for a desktop screen rather than a phone."""
    return width >= 600


def panel_grid(n_panels: int, width: int, margin: int) -> tuple[int, int]:
    """Return the number of panels per row, at most three, and the width of each in pixels.

    Args:
        n_panels: total number of panels.
        width: pixels of the whole chart.
        margin: pixels for the axis of a panel.
    """
    columns = min(n_panels, 3 if is_wide(width) else 1) or 1
    return columns, int((width - margin * columns) / columns)


LINE_LEGEND = {"symbolType": "stroke", "symbolSize": 500}
"""Legend whose symbols are lines."""


def colour_by(column: str, names: Sequence[str], colours: Sequence[str] | None = None, **legend: Any) -> alt.Color:
    """Encode colour by name, with a legend without a title.

    Args:
        column: column of the names.
        names: names in the order of the legend.
        colours: a colour per name; by default the colours of the theme.
        legend: arguments of `alt.Legend`.
    """
    scale = alt.Scale(domain=list(names), range=list(colours or colours_of(names)))
    return alt.Color(f"{column}:N", title=None, scale=scale, legend=alt.Legend(**legend))


def dash_by(column: str, dashes: Mapping[str, Sequence[int]], **legend: Any) -> alt.StrokeDash:
    """Encode dashes by name, with a legend below the chart if `legend` has arguments.

    Args:
        column: column of the names.
        dashes: name to lengths of line and gap, in the order of the legend.
        legend: arguments of `alt.Legend`.
    """
    scale = alt.Scale(domain=list(dashes), range=list(dashes.values()))
    # Below, because Vega puts two legends of one side next to each other.
    shown = alt.Legend(orient="bottom", symbolStrokeColor=INK, **LINE_LEGEND, **legend) if legend else None
    return alt.StrokeDash(f"{column}:N", title=None, scale=scale, legend=shown)


def shape_by(column: str, names: Sequence[str]) -> alt.Shape:
    """Encode point shapes by name, so that colour is never the only difference."""
    shapes = [SHAPES[i % len(SHAPES)] for i in range(len(names))]
    return alt.Shape(f"{column}:N", scale=alt.Scale(domain=list(names), range=shapes), legend=None)


def points(base: alt.Chart, *encodings: Any, size: int, **mark: Any) -> alt.Chart:
    """Draw filled points, which show the column `note` under the pointer and to screen readers.

    Args:
        base: chart with the data.
        encodings: encodings of the points.
        size: area of a point in square pixels.
        mark: further arguments of `mark_point`.
    """
    return base.mark_point(filled=True, size=size, opacity=1, **mark).encode(*encodings, alt.Description("note:N"))


def level_rule(**place: float) -> alt.Chart:
    """Draw a thin line across the chart at one value, given by the name of its field."""
    return alt.Chart(alt.Data(values=[place])).mark_rule(color=QUIET, aria=False)


def values(frame: pl.DataFrame) -> alt.Data:
    """Convert a frame to inline chart data: five decimals, no NaN, no limit on rows."""
    floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    rounded = frame.with_columns(pl.col(floats).cast(pl.Float64).round(5).fill_nan(None))
    # A tuple: every layer and panel copies its lists, a third of the time of a report.
    return alt.Data(values=tuple(rounded.to_dicts()))


def themed(chart: Chart, title: str, subtitle: str, width: int, description: str) -> Chart:
    """Add a title wrapped to the width, a description for screen readers, and the theme.

    Args:
        chart: any chart without a configuration of its own.
        title: the comparison that the chart shows.
        subtitle: averages, layers and intervals of the chart; may be empty.
        width: width of the title in pixels.
        description: content of the chart, for screen readers.
    """
    heading = alt.TitleParams(
        textwrap.wrap(title, int(width / _TITLE_PIXELS)),
        subtitle=textwrap.wrap(subtitle, int(width / _SUBTITLE_PIXELS)) or alt.Undefined,
        anchor="start",
        frame="bounds",
        fontSize=16,
        fontWeight="bold",
        color=INK,
        subtitleColor=QUIET,
        subtitleFontSize=13,
        subtitlePadding=6,
        offset=16,
    )
    return (
        chart.properties(title=heading, description=description, padding=4)
        .configure(font=FONT, background="transparent")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=QUIET,
            titleColor=INK,
            labelFontSize=12,
            titleFontSize=13,
            titleFontWeight="normal",
            titlePadding=10,
            gridColor=RULE,
            domainColor=CONTROL,
            tickColor=CONTROL,
        )
        .configure_legend(
            labelColor=INK,
            titleColor=QUIET,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelLimit=260,
            orient="top",
            symbolOpacity=1,
        )
        .configure_header(labelColor=INK, labelFontSize=13, labelFontWeight="bold", title=None)
    )


def panel_title(text: str) -> alt.TitleParams:
    """Make the title of one panel of several."""
    return alt.TitleParams(text, anchor="start", frame="group", fontSize=13, color=INK, offset=6)


def step_axis(steps: Sequence[int], title: str = "training step, log scale") -> alt.Axis:
    """Make a horizontal axis for log10(step + 1), with labels at the measured steps."""
    return alt.Axis(
        values=[math.log10(step + 1) for step in sorted(set(steps))],
        # + 0.5 before floor: the inverse of log10(step + 1) is not exact
        labelExpr="format(floor(pow(10, datum.value) - 0.5), ',')",
        labelOverlap="greedy",
        labelSeparation=4,
        labelFlush=False,
        title=title,
        grid=False,
    )


def step_x(steps: Sequence[int]) -> alt.X:
    """Encode `x`, the column that `log_step` makes."""
    return alt.X("x:Q", axis=step_axis(steps), scale=alt.Scale(nice=False))


def log_step(column: str = "step") -> pl.Expr:
    """Place a step on `step_axis`: log10(step + 1)."""
    return (pl.col(column).cast(pl.Float64) + 1).log10()


def chart_png(spec: Mapping[str, Any], ppi: int = 144) -> bytes:
    """Render the Vega-Lite specification of a chart on white paper as PNG; 144 pixels per inch are twice the screen."""
    return vl_convert.vegalite_to_png({**spec, "background": "#ffffff"}, ppi=ppi)


def chart_svg(spec: Mapping[str, Any], prefix: str) -> str:
    """Render a chart as an SVG element for a page with other charts; its colours follow the page.

    Args:
        spec: Vega-Lite specification of a themed chart.
        prefix: prefix of every id, because ids of two charts in one page must differ.
    """
    svg = vl_convert.vegalite_to_svg(dict(spec), allowed_base_urls=[])
    label = html.escape(str(spec.get("description", "")))
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    # Vega counts its ids through the whole process; with new numbers, equal charts give equal text.
    for position, own in enumerate(re.findall(r' id="([^"]+)"', svg)):
        svg = svg.replace(f' id="{own}"', f' id="{prefix}-{position}"').replace(
            f"url(#{own})", f"url(#{prefix}-{position})"
        )
    svg = re.sub(r' font-family="[^"]*"', "", svg)  # the page sets it once
    svg = re.sub(r"(\d\.\d\d)\d{2,}", r"\1", svg)  # hundredths of a pixel are enough
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(f'"{light}"', f'"var(--{name})"')
    return svg
