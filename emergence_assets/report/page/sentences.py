"""Sentences about training, sizes, layers and categories, derived from the tables; formatting of numbers."""

import math
from typing import Any

import polars as pl
from polars import selectors as cs

from emergence_assets.emergence.claims.grading import SUPPORTED
from emergence_assets.emergence.time.rises import CHECKPOINTS_FOR_A_DATE
from emergence_assets.report.charts.readings import category_histories, mean_row, size_row

UNKNOWN = "\N{EN DASH}"
"""Placeholder for a number that is not known."""
MINUS = "\N{MINUS SIGN}"


def time_sentence(headline: pl.DataFrame, claims: pl.DataFrame, level: str) -> str:
    """Compare presence in the largest model at its first and last step with random directions, and date the rise."""
    rows = known_rows(headline.filter(category_level=level, control_id="none").sort("n_params_nonemb", "model"))
    if not rows:
        return ""
    row = rows[-1]
    first = "before training" if row["step_first"] == 0 else f"at step {row['step_first']:,}"
    words = (
        f"Take a text of one {level} and a text of another. The best latent of {row['model']} for the {level} is more "
        f"active on its own text with probability {number(row['p_first'])} {first} and {number(row['p_last'])} at step "
        f"{row['step_last']:,}, on average over categories and layers; equal activations count one half, and 0.5 is "
        "chance."
    )
    if row["p_random_last"] is not None:
        words += (
            f" Random directions in the same vectors go from {number(row['p_random_first'])} to "
            f"{number(row['p_random_last'])} without any training of a dictionary; net of them the rise is "
            f"{signed(row['net_rise'])} ({span(row['net_rise_lo'], row['net_rise_hi'], signed)})."
        )
    dates = claims.filter(pl.col("category").is_null(), kind="timing", model=row["model"], category_level=level)
    dates = dates.filter(pl.col("grade").is_in(SUPPORTED), pl.col("estimate").is_not_null())
    if dates.is_empty():
        return f"{words} By which step half of the rise is reached is not established."
    date = dates.row(0, named=True)
    between = "" if date["lo"] is None else f" (95 % interval {date['lo']:,.0f} to {date['hi']:,.0f})"
    return f"{words} Half of the rise is reached by step {date['estimate']:,.0f}{between}."


def fading_sentence(claims: pl.DataFrame) -> str:
    """Count the categories that are shown to fade in the middle layers and to return."""
    tested = claims.filter(pl.col("category").is_not_null(), kind="reactivation")
    if tested.is_empty():
        return "No category was tested for fading in the middle layers and returning later."
    n_shown = tested.filter(pl.col("grade").is_in(SUPPORTED)).height
    return (
        "Number of claims that a category fades in the middle layers and returns later, by a claim of grade A or B: "
        f"{n_shown} of {tested.height} tested."
    )


def size_sentence(scale: pl.DataFrame, level: str) -> str:
    """Compare presence in the smallest and the largest model, with the result of `emergence_over_scale`."""
    rows = known_rows(size_row(scale, level))
    if not rows:
        return "There is no comparison of sizes yet."
    row = rows[0]
    points = sorted(row["size_points"], key=lambda point: (point["n_params_nonemb"], point["model"]))
    if row["n_sizes"] < 2 or row["rise"] is None or row["rise_lo"] is None:
        return f"There is one size only ({points[0]['model']}), so sizes cannot be compared."
    includes_zero = row["rise_lo"] <= 0 <= row["rise_hi"]
    difference = f"{signed(row['rise'])} (95 % interval {span(row['rise_lo'], row['rise_hi'], signed)})"
    ends = (
        f"after {points[0]['tokens_seen']:,} tokens the mean AUROC is {number(points[0]['p_best'])} in "
        f"{points[0]['model']} and {number(points[-1]['p_best'])} in {points[-1]['model']}"
    )
    comparison = (
        f"No difference between sizes is shown: {ends}, a difference of {difference}, an interval that includes 0."
        if includes_zero
        else f"The largest model's features are {'clearer' if row['rise'] > 0 else 'weaker'} than those of the "
        f"smallest: {ends}, a difference of {difference}."
    )
    return (
        f"{comparison} Result of the scale table: {row['verdict']}, "
        f"{_SHAPES.get(row['verdict'], 'see its description')}."
    )


_SHAPES = {
    "insufficient": "fewer than five sizes, no step 0, an unclear curve, or a second SAE design that is missing or "
    "disagrees; no shape of the growth with size is claimed",
    "absent": "no size shows a gain over its untrained network",
    "saturated": "the smallest size already shows a gain over its untrained network, and no rise over sizes is shown",
    "threshold": "the rise lies within a narrow range of sizes, under both SAE designs",
    "metric_artifact": "the number of strongly present categories jumps between two sizes, the mean AUROC does not",
    "smooth": "presence rises over sizes without a threshold",
}


def layer_sentence(space: pl.DataFrame, level: str, model: str) -> str:
    """Locate the layer with the highest mean presence at the last step, with the interval of its depth."""
    rows = mean_row(space, level).filter(model=model).sort("step")
    if rows.is_empty():
        return ""
    row = known_rows(rows)[-1]
    if len(row["layers"]) < 2 or row["peak_depth_lo"] is None:
        return ""
    peak = (
        f"In {model} at step {row['step']:,} the mean AUROC is highest in layer {row['peak_layer']}; the 95 % interval "
        f"of the peak reaches from {100 * row['peak_depth_lo']:.0f} to {100 * row['peak_depth_hi']:.0f} % of the depth"
    )
    if row["peak_depth_hi"] - row["peak_depth_lo"] > 0.5:
        peak += ", so no layer stands out"
    return f"{peak}."


def category_sentence(time: pl.DataFrame, level: str, model: str) -> str:
    """Count the categories that have emerged in the model's best layer, with the median half-rise step."""
    rows = category_histories(time, level, model)
    if rows.is_empty():
        return ""
    if rows["emerged"].is_null().all():
        return "Without step 0 no category can be claimed to have emerged."
    emerged = rows.filter(pl.col("emerged").fill_null(False))
    count = (
        f"In layer {rows['layer'][0]} of {model}, its best, {emerged.height} of {rows.height} categories have emerged"
    )
    if emerged.is_empty():
        return f"{count}."
    dated, n_steps = emerged.filter("is_dated"), int(rows["n_steps"][0])
    few = (
        f", with {n_steps} checkpoints, fewer than {CHECKPOINTS_FOR_A_DATE}" if n_steps < CHECKPOINTS_FOR_A_DATE else ""
    )
    count += f". The half-rise step is known within a decade for {dated.height} of them{few}"
    if dated.is_empty():
        return f"{count}."
    half_step, rising = pl.col("half_step"), dated.filter(censor="right").height
    steps = dated.select(low=half_step.min(), middle=half_step.median(), high=half_step.max()).row(0)
    low, middle, high = (f"{step:,.0f}" for step in steps)
    open_end = (
        f" Categories still rising at the last step, whose half-rise steps may move later: {rising}." if rising else ""
    )
    return f"{count}: its median is {middle} (range over categories: {low} to {high}).{open_end}"


def number(value: float | None) -> str:
    """Format with three decimals; a dash if unknown."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.3f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """Format with a sign and three decimals; a dash if unknown."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:+.3f}".replace("-", MINUS)


def span(low: float | None, high: float | None, shown: Any = number) -> str:
    """Format an interval as `low to high`; a dash if an end is unknown."""
    return UNKNOWN if UNKNOWN in (shown(low), shown(high)) else f"{shown(low)} to {shown(high)}"


def known_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame, with None in place of a float that is not finite."""
    return frame.with_columns(pl.when(cs.float().is_finite()).then(cs.float())).to_dicts()
