"""The finding of a study in two sentences, what its controls say, and what may not be concluded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from emergence_assets.emergence.claims.grading import SUPPORTED
from emergence_assets.emergence.presence.replicates import MARGIN
from emergence_assets.features.chance import REPORTED_RANGE
from emergence_assets.report.page.sentences import UNKNOWN, known, number, signed, span

Verdict = Literal["rise", "not granted", "small", "no rise", "fall", "control failed", "unknown"]


@dataclass(frozen=True)
class Finding:
    """What a study shows, in the words that its numbers allow."""

    verdict: Verdict
    lead: str
    """One or two sentences with the estimate and its interval."""
    others: str
    """How the other models compare; empty when there are none or a control fails."""
    controls: str
    """What the controls say."""
    limits: tuple[str, ...]
    """What may not be concluded."""


def finding(
    headline: pl.DataFrame,
    claims: pl.DataFrame,
    level: str,
    n_seeds: int | None = None,
    has_replicates: bool = False,
) -> Finding:
    """The finding of a study, read at its largest model. A rise is called emergence only where the claims grant it.

    Args:
        headline: see `HEADLINE`.
        claims: see `CLAIMS`.
        level: label level.
        n_seeds: SAE seeds per cell, when known.
        has_replicates: whether a model was trained several times, with other seeds.
    """
    rows = headline.filter((pl.col("category_level") == level) & (pl.col("control_id") == "none"))
    rows = rows.sort("n_params_nonemb", "model")
    if rows.is_empty():
        return Finding("unknown", f"There is no result for {level} categories yet.", "", "", ())
    each = [{key: known(value) for key, value in row.items()} for row in rows.iter_rows(named=True)]
    main = each[-1]
    verdict: Verdict = "control failed" if _broken(each) else _verdict(main)
    stated = _statement(claims, main["model"], level)
    if verdict == "rise" and (stated is None or stated["grade"] not in SUPPORTED):
        verdict = "not granted"
    limits = tuple(_limits(verdict, main, level, n_seeds, has_replicates))
    others = "" if verdict in ("unknown", "control failed") else _other_models(each[:-1])
    return Finding(verdict, _lead(verdict, main, each, level, stated), others, _controls(main, each), limits)


def _statement(claims: pl.DataFrame, model: str, level: str) -> dict[str, Any] | None:
    """The claim that features of the mean category of a level emerge in a model."""
    rows = claims.filter(
        pl.col("kind") == "emergence",
        pl.col("model") == model,
        pl.col("category_level") == level,
        pl.col("category").is_null(),
    )
    return None if rows.is_empty() else rows.row(0, named=True)


def _verdict(row: Mapping[str, Any]) -> Verdict:
    if row["step_first"] != 0 or row["step_last"] == 0 or row["rise"] is None or row["rise_lo"] is None:
        return "unknown"
    if row["rise_lo"] <= 0 <= row["rise_hi"]:
        return "no rise"
    if row["rise"] < 0:
        return "fall"
    return "rise" if row["rise"] >= MARGIN else "small"


def _lead(
    verdict: Verdict,
    row: Mapping[str, Any],
    each: list[dict[str, Any]],
    level: str,
    stated: Mapping[str, Any] | None,
) -> str:
    model, first, last = row["model"], number(row["p_first"]), number(row["p_last"])
    if verdict == "unknown":
        missing = (
            "has no checkpoint of step 0"
            if row["step_first"] != 0
            else "has one checkpoint only"
            if row["step_last"] == 0
            else "has no interval for the rise"
        )
        return f"No conclusion yet: {model} {missing}, so nothing can be compared with the untrained network."
    measure = (
        f"the best single latent of {model} tells a held-out text's {level} from the others with a mean AUROC of "
        f"{last} after {row['step_last']:,} steps, {first} before training"
    )
    change = f"{signed(row['rise'])} (95 % interval {span(row['rise_lo'], row['rise_hi'], signed)})"
    scope = f"mean over {row['n_categories']} categories and {_count(row['n_layers_read'], 'layer')}"
    if verdict == "control failed":
        names = ", ".join(bad["model"] for bad in _broken(each))
        return (
            f"No emergence may be claimed: the shuffled-label control of {names} fails, so what is measured is not, or "
            f"not only, knowledge of the categories. Uncorrected, {measure}: {change}, {scope}."
        )
    if verdict == "rise":
        grade = stated["grade"] if stated else UNKNOWN
        return f"Features emerge during training (claim of grade {grade}): {measure}, a rise of {change}, {scope}."
    if verdict == "not granted":
        return (
            f"A rise is measured that may not be called emergence ({_why_not(stated)}): {measure}, {change}, {scope}."
        )
    if verdict == "small":
        return (
            f"The rise is too small to be called emergence: {measure}, a change of {change}, which differs from 0 but "
            f"is below the margin of {MARGIN} set beforehand; {scope}."
        )
    if verdict == "fall":
        return f"Features do not emerge, they fade: {measure}, a change of {change}, {scope}."
    return f"No emergence is shown: {measure}, a change of {change}, an interval that includes 0; {scope}."


def _why_not(stated: Mapping[str, Any] | None) -> str:
    if stated is None:
        return "it was not put to its controls"
    if not stated["passes_gate"]:
        return "its curve over the checkpoints does not show one"
    if stated["grade"] == "reject":
        return f"it fails {', '.join(stated['controls_failed'])}"
    return f"not measured: {', '.join(stated['controls_missing'])}"


def _other_models(others: list[dict[str, Any]]) -> str:
    if not others:
        return ""
    rising = [row for row in others if _verdict(row) == "rise"]
    listed = "; ".join(
        f"{row['model']} {signed(row['rise'])} ({span(row['rise_lo'], row['rise_hi'], signed)})" for row in others
    )
    return f"{len(rising)} of {len(others)} rise by at least {MARGIN}: {listed}."


def _controls(row: Mapping[str, Any], each: list[dict[str, Any]]) -> str:
    parts = []
    low, high = REPORTED_RANGE
    if row["p_shuffle"] is None:
        parts.append("Shuffled labels: not measured.")
    else:
        lows, highs = ([r[key] for r in each if r[key] is not None] for key in ("p_shuffle_min", "p_shuffle_max"))
        verdict = "outside" if _broken(each) else "within"
        parts.append(
            f"Shuffled labels give {number(row['p_shuffle'])} (single models, layers and steps: "
            f"{span(min(lows), max(highs))}), {verdict} the permitted {low} to {high}."
        )
    if row["p_dense_last"] is not None:
        parts.append(
            f"A dense probe on the whole read-out vector goes from {number(row['p_dense_first'])} at step "
            f"{row['step_first']:,} to {number(row['p_dense_last'])}."
        )
    if row["p_bow"] is not None:
        parts.append(f"The bag of words of the text alone reaches {number(row['p_bow'])}.")
    return " ".join(parts)


def _limits(
    verdict: Verdict, row: Mapping[str, Any], level: str, n_seeds: int | None, has_replicates: bool
) -> list[str]:
    limits = []
    dense_first, dense_last, p_last = row["p_dense_first"], row["p_dense_last"], row["p_last"]
    if verdict == "rise" and dense_first is not None and dense_last is not None:
        if dense_first > p_last or dense_last - dense_first < MARGIN:
            limits.append(
                "Not that the model learns the information. A single feature emerges, not the information: the dense "
                + (
                    f"probe already reads the untrained network better ({number(dense_first)}) than the best latent "
                    f"reads the trained one ({number(p_last)})."
                    if dense_first > p_last
                    else f"probe does not rise by {MARGIN} ({number(dense_first)} to {number(dense_last)})."
                )
            )
        else:
            limits.append(
                f"Not whether the feature or the information emerges: the dense probe rises too "
                f"({number(dense_first)} to {number(dense_last)}, without an interval)."
            )
    if row["p_bow"] is not None and p_last is not None and row["p_bow"] > p_last:
        limits.append(
            f"Not that the model knows more than the words say: the bag of words beats the best latent "
            f"({number(row['p_bow'])} against {number(p_last)})."
        )
    if verdict == "no rise":
        limits.append(
            f"Not that nothing emerges: the interval excludes mean rises above {number(row['rise_hi'])} only, and "
            "single categories may differ (table below)."
        )
    limits.append(_training_runs(n_seeds, has_replicates))
    if n_seeds == 1:
        limits.append("Nothing about other SAEs: one SAE seed per model, step and layer.")
    limits.append(
        f"Not that the model uses these features: no latent was switched off to see whether its {level} is lost."
    )
    return limits


def _training_runs(n_seeds: int | None, has_replicates: bool) -> str:
    """What the intervals of the headline leave out: they are of one training run of each model."""
    covered = "which texts were drawn" + (" and which seeds the SAEs had" if n_seeds and n_seeds > 1 else "")
    if has_replicates:
        return (
            f"Nothing about other training runs from this number alone: its interval covers {covered}; how far further "
            "runs of a model differ is in the table of training runs."
        )
    return (
        f"Nothing about other training runs: every model is one run with one seed, and the intervals cover {covered}."
    )


def _broken(each: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The models whose shuffled labels are not at chance, or were not measured."""
    low, high = REPORTED_RANGE
    return [
        row for row in each if row["p_shuffle_min"] is None or row["p_shuffle_min"] < low or row["p_shuffle_max"] > high
    ]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
