"""The finding of a study in two sentences, the results of its controls, and what may not be concluded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from emergence_assets.emergence.claims.grading import SUPPORTED
from emergence_assets.emergence.presence.replicates import MARGIN
from emergence_assets.features.chance import REPORTED_RANGE
from emergence_assets.report.page.sentences import UNKNOWN, known_rows, number, signed, span

Result = Literal["rise", "not supported", "small", "no rise", "fall", "control failed", "unknown"]


@dataclass(frozen=True)
class Finding:
    """Conclusion of a study, in sentences that its numbers support."""

    result: Result
    lead: str
    """One or two sentences with the estimate and its 95 % interval."""
    others: str
    """Rises of the other models; empty when there are none or a control fails."""
    controls: str
    """Values of the controls."""
    limits: tuple[str, ...]
    """Conclusions that the study does not support."""


def finding(
    headline: pl.DataFrame,
    claims: pl.DataFrame,
    level: str,
    n_seeds: int | None = None,
    has_replicates: bool = False,
    controls: pl.DataFrame | None = None,
) -> Finding:
    """Derive the finding of a study from its largest model. A rise is called emergence only if the claims support it.

    Args:
        headline: see `HEADLINE`.
        claims: see `CLAIMS`.
        level: label level.
        n_seeds: SAE seeds per cell; None if not known.
        has_replicates: whether the study has further training runs of a model, with other seeds.
        controls: see `CATEGORY_CONTROLS`; None if there are none.
    """
    rows = headline.filter(category_level=level, control_id="none").sort("n_params_nonemb", "model")
    if rows.is_empty():
        return Finding("unknown", f"There is no result for {level} categories yet.", "", "", ())
    each = known_rows(rows)
    main = each[-1]
    result: Result = "control failed" if _broken(each) else _result(main)
    claim = _emergence_claim(claims, main["model"], level)
    if result == "rise" and (claim is None or claim["grade"] not in SUPPORTED):
        result = "not supported"
    limits = (
        *_limits(result, main, n_seeds, has_replicates),
        *_step_0_made_here(claims, main["model"]),
        *_beyond_covariance(claims, main["model"]),
        _use(claims, main["model"], level),
    )
    others = "" if result in ("unknown", "control failed") else _other_models(each[:-1])
    values = _controls(main, each)
    if controls is not None:
        values += _rivals(controls.filter(aggregate="mean", category_level=level, model=main["model"]))
    return Finding(result, _lead(result, main, each, level, claim), others, values, limits)


def _emergence_claim(claims: pl.DataFrame, model: str, level: str) -> dict[str, Any] | None:
    """Return the claim that the mean over the categories of a level emerges in a model."""
    rows = claims.filter(pl.col("category").is_null(), kind="emergence", model=model, category_level=level)
    return None if rows.is_empty() else rows.row(0, named=True)


def _result(row: Mapping[str, Any]) -> Result:
    if row["step_first"] != 0 or row["step_last"] == 0 or row["rise"] is None or row["rise_lo"] is None:
        return "unknown"
    if row["rise_lo"] <= 0 <= row["rise_hi"]:
        return "no rise"
    if row["rise"] < 0:
        return "fall"
    return "rise" if row["rise"] >= MARGIN else "small"


def _lead(
    result: Result,
    row: Mapping[str, Any],
    each: list[dict[str, Any]],
    level: str,
    claim: Mapping[str, Any] | None,
) -> str:
    model, first, last = row["model"], number(row["p_first"]), number(row["p_last"])
    if result == "unknown":
        missing = (
            "has no checkpoint of step 0"
            if row["step_first"] != 0
            else "has one checkpoint only"
            if row["step_last"] == 0
            else "has no interval for the rise"
        )
        return f"No conclusion yet: {model} {missing}, so nothing can be compared with the untrained network."
    measure = (
        f"the best single latent of {model} separates the held-out texts of one {level} from all others with a mean "
        f"AUROC of {last} after {row['step_last']:,} steps, against {first} before training"
    )
    change = f"{signed(row['rise'])} (95 % interval {span(row['rise_lo'], row['rise_hi'], signed)})"
    scope = f"mean over {row['n_categories']} categories and {_count(row['n_layers_read'], 'layer')}"
    if result == "control failed":
        broken = _broken(each)
        names = ", ".join(bad["model"] for bad in broken)
        failure = "was not measured" if all(bad["p_shuffle_min"] is None for bad in broken) else "fails"
        return (
            f"No emergence may be claimed: the shuffled-label control of {names} {failure}, so the AUROC may not come "
            f"from the categories alone. Without regard to this control, {measure}: a change of {change}, {scope}."
        )
    if result == "rise":
        grade = claim["grade"] if claim else UNKNOWN
        return (
            f"Single latents come to separate {level} categories during training, by more than random directions do "
            f"(claim of grade {grade}): {measure}, a rise of {change}, of which {_net(row)} is net of "
            f"random directions; {scope}."
        )
    if result == "not supported":
        return f"The measured rise may not be called emergence ({_why_not(claim)}): {measure}, {change}, {scope}."
    if result == "small":
        return (
            f"The rise is too small to be called emergence: {measure}, a change of {change}, which differs from 0 but "
            f"is below the margin of {MARGIN} that was fixed in advance; {scope}."
        )
    if result == "fall":
        return f"Features do not emerge, they fade: {measure}, a change of {change}, {scope}."
    return f"No emergence is shown: {measure}, a change of {change}, an interval that includes 0; {scope}."


def _why_not(claim: Mapping[str, Any] | None) -> str:
    if claim is None:
        return "the table of claims has no claim about it"
    if not claim["passes_gate"]:
        return "the last checkpoints do not lie above step 0 by the criteria"
    if claim["grade"] == "reject":
        return f"failed controls: {', '.join(claim['controls_failed'])}"
    return f"controls not measured: {', '.join(claim['controls_missing'])}"


def _other_models(others: list[dict[str, Any]]) -> str:
    if not others:
        return ""
    rising = [row for row in others if _result(row) == "rise"]
    listed = "; ".join(
        f"{row['model']} {signed(row['rise'])} ({span(row['rise_lo'], row['rise_hi'], signed)})" for row in others
    )
    return f"{len(rising)} of {len(others)} rise by at least {MARGIN}: {listed}."


def _net(row: Mapping[str, Any]) -> str:
    """Format the net rise with its interval."""
    if row["net_rise"] is None:
        return "an unknown part"
    return f"{signed(row['net_rise'])} ({span(row['net_rise_lo'], row['net_rise_hi'], signed)})"


def _controls(row: Mapping[str, Any], each: list[dict[str, Any]]) -> str:
    parts = []
    if row["p_random_last"] is not None:
        parts.append(
            f"The best of as many random directions on the same vectors goes from {number(row['p_random_first'])} to "
            f"{number(row['p_random_last'])}; net of it the rise is {_net(row)}."
        )
    low, high = REPORTED_RANGE
    if row["p_shuffle"] is None:
        parts.append("Shuffled labels: not measured.")
    else:
        lows, highs = ([r[key] for r in each if r[key] is not None] for key in ("p_shuffle_min", "p_shuffle_max"))
        place = "within" if low <= min(lows) and max(highs) <= high else "outside"
        parts.append(
            f"Shuffled labels give {number(row['p_shuffle'])}; over single models, layers and steps the range is "
            f"{span(min(lows), max(highs))}, {place} the permitted {low} to {high}."
        )
    if row["p_dense_last"] is not None:
        parts.append(
            f"A dense probe on the whole read-out vector goes from {number(row['p_dense_first'])} at step "
            f"{row['step_first']:,} to {number(row['p_dense_last'])}."
        )
    if row["p_bow"] is not None:
        parts.append(f"The bag of words of the text alone reaches {number(row['p_bow'])}.")
    return " ".join(parts)


def _rivals(controls: pl.DataFrame) -> str:
    """Compare the best latent at the last step with dictionaries and words that know less, in one layer."""
    found = {row["control_id"]: row for row in known_rows(controls)}
    parts = [
        f"{name} {number(found[control]['p_best'])} (difference {span(lo, hi, signed)})"
        for control, name in _RIVALS.items()
        if control in found
        for lo, hi in [(found[control]["above_control_lo"], found[control]["above_control_hi"])]
    ]
    if not parts:
        return ""
    one = next(iter(found.values()))
    return (
        f" In layer {one['layer']}, the best one, the latent has {number(one['p_measured'])} at the last step; "
        f"{'; '.join(parts)}."
    )


_RIVALS = {
    "dict_gauss": "an SAE trained on Gaussian rows with the mean and covariance of the real ones has",
    "best_word": "the best single word",
    "text_wordshuffle": "the same latents, with the words of a text in random order,",
}


def _beyond_covariance(claims: pl.DataFrame, model: str) -> list[str]:
    """Count the supported categories of a model that do not exceed SAEs of Gaussian rows."""
    granted = claims.filter(pl.col("category").is_not_null(), pl.col("grade").is_in(SUPPORTED), kind="emergence")
    granted = granted.filter(model=model)
    n_failed = granted.filter(pl.col("controls_failed").list.contains("dict_gauss")).height
    if not n_failed:
        return []
    return [
        f"That single categories of {model} have features beyond the covariance of the read-outs: {n_failed} of the "
        f"{granted.height} that improve by more than random directions do not exceed an SAE trained on Gaussian rows."
    ]


def _use(claims: pl.DataFrame, model: str, level: str) -> str:
    """Name the categories whose best latents the model is not shown to use."""
    tested = claims.filter(pl.col("category").is_not_null(), kind="use", model=model)
    if tested.is_empty():
        return (
            "That the model uses these features: no latent was removed, because no category rises or the model "
            "predicts no tokens."
        )
    used = tested.filter(pl.col("grade").is_in(SUPPORTED)).height
    means = claims.filter(pl.col("category").is_null(), kind="use", model=model, category_level=level)
    on_average = "; on average over categories it does" if means["grade"].is_in(SUPPORTED).any() else ""
    return (
        f"That the model uses each of these features: without the best latent of a category, the loss on its texts "
        f"rises by more than on other texts, and by more than without other latents, for {used} of the "
        f"{tested.height} categories of {model} that were tested{on_average}."
    )


def _step_0_made_here(claims: pl.DataFrame, model: str) -> list[str]:
    """Limit a rise of a model whose step 0 the study made."""
    made = claims.filter(pl.col("controls_failed").list.contains("step0_made_here"), model=model)
    if made.is_empty():
        return []
    return [
        f"That {model} rises over the weights from which its training began: nobody kept them. Its step 0 was made "
        "here, with random weights of the same architecture, so a difference to it may in part be one between two "
        "initial states. No claim about it has grade A."
    ]


def _limits(result: Result, row: Mapping[str, Any], n_seeds: int | None, has_replicates: bool) -> list[str]:
    limits = []
    dense_first, dense_last, p_last = row["p_dense_first"], row["p_dense_last"], row["p_last"]
    if result == "rise" and dense_first is not None and dense_last is not None:
        if dense_first > p_last or dense_last - dense_first < MARGIN:
            limits.append(
                "That the model learns the information. Single latents come to carry it, but it need not be new: the "
                + (
                    f"dense probe has a higher AUROC in the untrained network ({number(dense_first)}) than the best "
                    f"latent in the trained network ({number(p_last)})."
                    if dense_first > p_last
                    else f"dense probe does not rise by {MARGIN} ({number(dense_first)} to {number(dense_last)})."
                )
            )
        else:
            limits.append(
                "That only single latents improve, and not the information: the dense probe rises too "
                f"({number(dense_first)} to {number(dense_last)}, without an interval)."
            )
    if row["n_own_last"] is not None and row["n_own_random_last"] is not None:
        limits.append(
            f"That every {row['category_level']} has a latent of its own, one that the rule of the study accepts and "
            f"that separates no other {row['category_level']} better: {row['n_own_last']:.1f} of "
            f"{row['n_categories']} have one in a layer of {row['model']} ({row['n_own_random_last']:.1f} in random "
            "encoders)."
        )
    if row["p_bow"] is not None and p_last is not None and row["p_bow"] > p_last:
        limits.append(
            "That the model knows more than the words of a text reveal: the bag of words beats the best latent "
            f"({number(row['p_bow'])} against {number(p_last)})."
        )
    if result == "no rise":
        limits.append(
            f"That nothing emerges: the interval excludes only mean rises above {number(row['rise_hi'])}, and single "
            "categories may differ (see the table of categories)."
        )
    limits.append(_training_runs(n_seeds, has_replicates))
    if n_seeds == 1:
        limits.append("Anything about other SAEs: there is one SAE seed per model, step and layer.")
    return limits


def _training_runs(n_seeds: int | None, has_replicates: bool) -> str:
    """Name the variation that the intervals of the headline exclude: they are of one training run per model."""
    covered = "the choice of texts" + (" and of SAE seeds" if n_seeds and n_seeds > 1 else "")
    if has_replicates:
        return (
            f"Anything about other training runs from these numbers alone: their intervals cover {covered} only. The "
            "table of training runs compares the runs of every model that has several."
        )
    return (
        f"Anything about other training runs: the study has one run of each model, and the intervals cover {covered} "
        "only."
    )


def _broken(each: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the models whose shuffled-label control is not at chance, or was not measured."""
    low, high = REPORTED_RANGE
    return [
        row for row in each if row["p_shuffle_min"] is None or row["p_shuffle_min"] < low or row["p_shuffle_max"] > high
    ]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
