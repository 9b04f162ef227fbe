"""Compare the tables of a planted family with the planted truth: a list of answers per figure and draw.

Shape suffixes: c categories, l layers, s steps, g parts of the depth.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from benchmarks.planted_categories import ONSET_LOGIT, Family, from_a_size_on, with_size
from benchmarks.planted_study import N_LAYERS, Tables
from benchmarks.time_rules import STEPS
from emergence_assets.emergence.space.valleys import locate_valleys, valley_depth, window_width, windowed

Answers = dict[str, list[float]]
"""Figure → answers; 0 is no, 1 is yes."""
NET = "net growth"
"""Six numbers per series: its number, planted growth, growth of presence, net growth with its interval."""
POWER_RISE = 0.14
"""AUROC between first and last checkpoint: a rise of .15 should be found, and runs vary around it."""
POWER_DROP = 0.29
"""AUROC: a dip of .3 should be found."""


def answers(family: Family, tables: Tables) -> Answers:
    """Compare the tables of a family with its planted truth."""
    return {
        **_of_time(family, tables.time),
        **_of_net_presence(family, tables.time),
        **_of_depth(family, tables.reactivation),
        **_of_sizes(family, tables.scale),
    }


def _of_time(family: Family, table: pl.DataFrame) -> Answers:
    found: Answers = defaultdict(list)
    run, number = family.runs[-1], {name: i for i, name in enumerate(family.categories)}
    truth_scl = np.stack([family.presence_cl(run, step) for step in STEPS])
    single = table.filter(aggregate="none", metric="p_best")
    for row in single.filter(layer_choice="each").iter_rows(named=True):
        if row["control_id"] == "label_shuffle":
            found["false emergence, permuted labels"].append(row["passes_gate"])
        elif np.ptp(truth_scl[:, number[row["category"]], row["layer"]]) == 0:
            found["false emergence, series without a rise"].append(row["passes_gate"])
    for row in single.filter(layer_choice="best", control_id="none").iter_rows(named=True):
        category = family.categories[row["category"]]
        truth_s = truth_scl[:, number[row["category"]], row["layer"]]
        rise = truth_s[-1] - truth_s[0]
        found["coverage, end minus step 0"].append(_within(row, "amp", rise))
        if rise < POWER_RISE:
            continue
        found["power, rise of .15" if rise < 0.16 else "power, larger rise"].append(row["passes_gate"])
        found["coverage, end minus step 0 of a rise"].append(_within(row, "amp", rise))
        found["dated, where it rises"].append(row["is_dated"])
        if row["is_dated"]:
            found["coverage, half step"].append(_within(row, "half_step", 10**category.middle - 1))
            onset = max(10 ** (category.middle - ONSET_LOGIT * category.width) - 1, 0)
            found["coverage, onset step"].append(_within(row, "onset_step", onset))
            found["bias of the half step, decades"].append(np.log10(row["half_step"] + 1) - category.middle)
            found["distance of the half step, decades"].append(abs(np.log10(row["half_step"] + 1) - category.middle))
            width = np.log10((row["half_step_hi"] + 1) / (row["half_step_lo"] + 1))
            found["interval of the half step, decades"].append(width)
    return found


def _of_net_presence(family: Family, table: pl.DataFrame) -> Answers:
    """Compare the criteria of a claim of emergence that a family without words can have: presence and net presence.

    What random directions gain has no formula. `NET` lists series for `net_coverage`, which takes it from all draws.
    """
    found: Answers = defaultdict(list)
    run, names = family.runs[-1], list(family.categories)
    truth_scl = np.stack([family.presence_cl(run, step) for step in STEPS])
    late_cl = truth_scl[-3:].mean(axis=0) - truth_scl[0]
    rows = table.filter(aggregate="none", control_id="none")
    keys = ["layer_choice", "layer", "category"]
    both = rows.filter(metric="p_best").join(rows.filter(metric="net"), on=keys, suffix="_net", validate="1:1")
    for row in both.iter_rows(named=True):
        number = names.index(row["category"])
        rise = np.ptp(truth_scl[:, number, row["layer"]])
        granted = row["passes_gate"] and row["late_gain_lo_net"] > 0 and row["q_emerged_net"] < 0.05
        if row["layer_choice"] == "best" and rise >= POWER_RISE:
            found["power, net rise where .15 to .35 rise"].append(granted)
        if row["layer_choice"] == "each" and rise == 0:
            found["false net rise, series without a rise"].append(granted)
        if row["layer_choice"] == "each":
            series = number * N_LAYERS + row["layer"]
            numbers = (row[f"late_gain{end}_net"] for end in ("", "_lo", "_hi"))
            found[NET].extend((series, late_cl[number, row["layer"]], row["late_gain"], *numbers))
    return found


def net_coverage(draws: Sequence[Sequence[float]]) -> list[float]:
    """Return for every series and draw whether the interval of net growth holds its true value.

    The true value is the planted growth minus what random directions gain, which is the mean over all draws of measured
    growth minus net growth.

    Args:
        draws: answers `NET` of draws of one kind.
    """
    columns = np.concatenate([np.reshape(draw, (-1, 6)) for draw in draws])
    series, truth, measured, net, lo, hi = columns.T
    places = series.astype(int)
    n_draws = np.bincount(places)
    random = np.bincount(places, measured - net) / np.maximum(n_draws, 1)
    true_net = truth - random[places]
    return ((lo <= true_net) & (true_net <= hi)).astype(float).tolist()


def _of_depth(family: Family, table: pl.DataFrame) -> Answers:
    found: Answers = defaultdict(list)
    gain_cl = family.presence_cl(family.runs[-1], STEPS[-1]) - family.presence_cl(family.runs[-1], STEPS[0])
    gain_cw = windowed(gain_cl)
    drop_c, ends_c = valley_depth(gain_cw, locate_valleys(gain_cw, window_width(N_LAYERS)))
    index_c = drop_c / np.where(ends_c > 0, ends_c, np.nan)
    rows = {row["category"]: row for row in _at_the_end(table, "none")}
    for number, (name, category) in enumerate(family.categories.items()):
        row = rows[name]
        if drop_c[number] <= 0:
            found["false reactivation, drop and its interval"].append(row["gate_drop"] and row["gate_interval"])
            found["false reactivation, all gates"].append(row["passes_gate"])
            shown = row["passes_gate"] and row["verdict"] == "representational"
            found["false reactivation, shown by the probe too"].append(shown)
        elif drop_c[number] >= POWER_DROP:
            found["power, drop of .3"].append(row["passes_gate"])
            found["coverage, drop"].append(_within(row, "drop", drop_c[number]))
            found["coverage, reactivation index"].append(_within(row, "ri", index_c[number]))
            if row["passes_gate"]:
                right = "allocation" if category.is_spread else "representational"
                found[f"verdict {right} where it is"].append(row["verdict"] == right)
    for row in _at_the_end(table, "label_shuffle"):
        found["false reactivation, permuted labels"].append(row["passes_gate"])
    return found


def _at_the_end(table: pl.DataFrame, control_id: str) -> list[dict[str, Any]]:
    return table.filter(aggregate="none", control_id=control_id, step=STEPS[-1]).to_dicts()


def _of_sizes(family: Family, table: pl.DataFrame) -> Answers:
    found: Answers = defaultdict(list)
    smallest, largest = (family.runs[i].n_params for i in (0, -1))
    middle = float(np.sqrt(smallest * largest))
    rows = table.filter(condition="final_step", aggregate="none", control_id="none").to_dicts()
    for row in rows:
        category = family.categories[row["category"]]
        if category.rise == 0:
            found["false growth over sizes, categories without"].append(row["shape"] in ("threshold", "smooth"))
        elif category.over_sizes is from_a_size_on:
            found["shape threshold where it is"].append(row["shape"] == "threshold")
            found["bracket holds the threshold"].append(_in_bracket(row, middle))
            found["coverage, size of half the rise"].append(_within(row, "n_half", middle))
        elif category.over_sizes is with_size:
            found["shape smooth where it is"].append(row["shape"] == "smooth")
        if category.over_sizes is not from_a_size_on:
            found["false threshold over sizes"].append(row["shape"] == "threshold")
    return found


def _in_bracket(row: Mapping[str, Any], middle: float) -> bool:
    """Return whether a bracket holds the size; a missing bound is open."""
    return (row["n_lo"] or 0) <= middle <= (row["n_hi"] or np.inf)


def _within(row: Mapping[str, Any], name: str, truth: float) -> bool:
    """Return whether an interval holds the truth; a missing interval does not."""
    lo, hi = row[f"{name}_lo"], row[f"{name}_hi"]
    return lo is not None and hi is not None and lo <= truth <= hi
