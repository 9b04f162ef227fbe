"""What the tables say about sizes, layers and categories, in sentences, and how a number is written."""

import math
from typing import Any

import polars as pl

from emergence_assets.emergence.time.rises import CHECKPOINTS_FOR_A_CLAIM
from emergence_assets.report.charts.readings import category_histories, mean_row, size_row

UNKNOWN = "\N{EN DASH}"
"""What stands for a number that is not known."""
MINUS = "\N{MINUS SIGN}"


def size_sentence(scale: pl.DataFrame, level: str) -> str:
    """How presence differs between the smallest and the largest model, with the verdict of the scale table."""
    rows = size_row(scale, level).to_dicts()
    if not rows:
        return "There is no comparison of sizes yet."
    row = {key: known(value) for key, value in rows[0].items()}
    points = sorted(row["size_points"], key=lambda point: (point["n_params_nonemb"], point["model"]))
    if row["n_sizes"] < 2 or row["rise"] is None or row["rise_lo"] is None:
        return f"There is one size only ({points[0]['model']}), so sizes cannot be compared."
    includes_zero = row["rise_lo"] <= 0 <= row["rise_hi"]
    difference = f"{signed(row['rise'])} (95 % interval {span(row['rise_lo'], row['rise_hi'], signed)})"
    ends = (
        f"after {points[0]['tokens_seen']:,} tokens the mean AUROC is {number(points[0]['p_best'])} in "
        f"{points[0]['model']} and {number(points[-1]['p_best'])} in {points[-1]['model']}"
    )
    said = (
        f"No difference between sizes is shown: {ends}, {difference}, an interval that includes 0."
        if includes_zero
        else f"The largest model's features are {'clearer' if row['rise'] > 0 else 'weaker'} than those of the "
        f"smallest: {ends}, a difference of {difference}."
    )
    return (
        f"{said} Verdict of the scale table: {row['verdict']}, {_VERDICTS.get(row['verdict'], 'see its description')}."
    )


_VERDICTS = {
    "insufficient": "fewer than five sizes, no step 0, an unclear curve, or SAE designs that disagree, so neither a "
    "threshold nor a smooth growth with size is claimed",
    "absent": "no size gains over its untrained network",
    "saturated": "present in the smallest size already, without a rise that is shown",
    "threshold": "the rise happens within a narrow range of sizes, under both SAE designs",
    "metric_artifact": "the count of categories jumps, and the score behind it does not",
    "smooth": "a rise over sizes without a threshold",
}


def layer_sentence(space: pl.DataFrame, level: str, model: str) -> str:
    """Where in the model's depth presence is highest at its last step, and whether layers can be told apart."""
    rows = mean_row(space, level).filter(pl.col("model") == model).sort("step")
    if rows.is_empty():
        return ""
    row = {key: known(value) for key, value in rows.row(-1, named=True).items()}
    if len(row["layers"]) < 2 or row["peak_depth_lo"] is None:
        return ""
    peak = (
        f"In {model} at step {row['step']:,} the mean is highest in layer {row['peak_layer']}; the 95 % interval of "
        f"the peak reaches from {100 * row['peak_depth_lo']:.0f} to {100 * row['peak_depth_hi']:.0f} % of the depth"
    )
    if row["peak_depth_hi"] - row["peak_depth_lo"] > 0.5:
        peak += ", so no layer stands out"
    return f"{peak}. Whether features vanish and return in later layers is not tested here."


def category_sentence(time: pl.DataFrame, level: str, model: str) -> str:
    """How many categories have emerged in the model's best layer, and when half of them had."""
    rows = category_histories(time, level, model)
    if rows.is_empty():
        return ""
    if rows["emerged"].is_null().all():
        return "Without step 0 no category can be said to have emerged."
    emerged = rows.filter(pl.col("emerged").fill_null(False))
    said = (
        f"In layer {rows['layer'][0]} of {model}, its best, {emerged.height} of {rows.height} categories have emerged"
    )
    n_steps = int(rows["n_steps"][0])
    if n_steps < CHECKPOINTS_FOR_A_CLAIM:
        said += f"; there are {n_steps} checkpoints, and below {CHECKPOINTS_FOR_A_CLAIM} the rule sees few rises"
    if emerged.is_empty():
        return f"{said}."
    steps = emerged.select(
        low=pl.col("half_step").min(), middle=pl.col("half_step").median(), high=pl.col("half_step").max()
    ).row(0)
    rising = emerged.filter(pl.col("censor") == "right").height
    low, middle, high = (f"{step:,.0f}" for step in steps)
    return (
        f"{said}: half of the rise is reached at step {middle} in the median category ({low} to {high}), and "
        f"{rising} are still rising at the last step, so that theirs may move later."
    )


def number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.3f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """Three decimals with a sign, or a dash."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:+.3f}".replace("-", MINUS)


def span(low: float | None, high: float | None, shown: Any = number) -> str:
    """`low to high`, or a dash when one of them is not known."""
    return UNKNOWN if UNKNOWN in (shown(low), shown(high)) else f"{shown(low)} to {shown(high)}"


def known(value: Any) -> Any:
    """The value, or None for a float that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
