"""The finding states a planted rise, and states no rise when there is none."""

from collections.abc import Callable

import polars as pl
import pytest

from emergence_assets.report.charts.readings import ReportTables
from emergence_assets.report.page.finding import Finding, finding
from emergence_assets.report.page.sentences import (
    UNKNOWN,
    category_sentence,
    layer_sentence,
    number,
    signed,
    size_sentence,
    span,
)


def _found(tables: ReportTables) -> Finding:
    return finding(tables.headline, tables.claims, "subject", 1)


def _limits(tables: ReportTables) -> str:
    return "\n".join(_found(tables).limits)


def test_the_finding_states_a_planted_rise_with_its_interval_and_controls(rising: ReportTables) -> None:
    found = _found(rising)
    row = rising.headline.filter(pl.col("model") == "large", pl.col("control_id") == "none").row(0, named=True)
    assert found.result == "rise"
    assert found.lead.startswith(
        "Single latents come to separate subject categories during training, by more than random"
    )
    assert "(claim of grade B): the best single latent of large" in found.lead
    for value in ("p_first", "p_last", "rise", "rise_lo", "rise_hi"):
        assert f"{row[value]:.3f}" in found.lead
    assert found.others.startswith("1 of 1 rise by at least 0.05: small +0.")
    assert f"Shuffled labels give {row['p_shuffle']:.3f}" in found.controls
    assert "within the permitted 0.48 to 0.52" in found.controls
    assert f"dense probe on the whole read-out vector goes from {row['p_dense_first']:.3f} at step 0" in found.controls
    assert "bag of words of the text alone reaches 0.970" in found.controls


def test_information_present_before_training_is_not_claimed_to_emerge(
    rising: ReportTables, planted_tables: Callable[..., ReportTables]
) -> None:
    assert "Single latents come to carry it, but it need not be new: the dense probe has a higher AUROC in" in _limits(
        rising
    )
    assert "the study has one run of each model" in _limits(rising)
    assert "one SAE seed" in _limits(rising)
    assert "the bag of words beats the best latent" in _limits(rising)
    flat = planted_tables(0.5, dense=0.0)
    assert "does not rise by 0.05" in _limits(flat)


def test_a_rising_dense_probe_leaves_open_whether_the_information_emerges(rising: ReportTables) -> None:
    headline = rising.headline.with_columns(p_dense_first=pl.lit(0.55), p_dense_last=pl.lit(0.9))
    limits = "\n".join(finding(headline, rising.claims, "subject").limits)
    assert "That only single latents improve, and not the information: the dense probe rises too" in limits
    assert "SAE seed" not in limits


def test_nothing_planted_is_no_emergence(planted_tables: Callable[..., ReportTables]) -> None:
    tables = planted_tables(0.0)
    found = _found(tables)
    assert found.result == "no rise"
    assert found.lead.startswith("No emergence is shown")
    assert "an interval that includes 0" in found.lead
    assert "features emerge" not in _limits(tables)
    assert "That nothing emerges: the interval excludes only mean rises above" in _limits(tables)
    assert "0 of 6 categories have emerged." in category_sentence(tables.emergence_over_time, "subject", "large")


@pytest.mark.parametrize("shift", [0.06, -0.06])
def test_a_control_off_chance_forbids_the_claim(planted_tables: Callable[..., ReportTables], shift: float) -> None:
    found = _found(planted_tables(0.5, shuffle_shift=shift))
    assert found.result == "control failed"
    assert found.lead.startswith("No emergence may be claimed: the shuffled-label control of small, large fails")
    assert "outside the permitted 0.48 to 0.52" in found.controls
    assert not found.others


def test_one_cell_off_chance_and_a_missing_control_count_as_failed(rising: ReportTables) -> None:
    is_small = pl.col("model") == "small"
    one_cell = rising.headline.with_columns(
        p_shuffle_max=pl.when(is_small).then(0.53).otherwise(pl.col("p_shuffle_max"))
    )
    found = finding(one_cell, rising.claims, "subject")
    assert found.result == "control failed"
    assert "control of small fails" in found.lead
    missing = rising.headline.with_columns(
        pl.lit(None, pl.Float32).alias(f"p_shuffle{end}") for end in ("", "_min", "_max")
    )
    found = finding(missing, rising.claims, "subject")
    assert found.result == "control failed"
    assert "control of small, large was not measured" in found.lead
    assert "Shuffled labels: not measured." in found.controls


@pytest.mark.parametrize(
    ("rise", "lo", "hi", "result", "words"),
    [
        (0.03, 0.01, 0.05, "small", "too small to be called emergence"),
        (-0.1, -0.12, -0.08, "fall", "they fade"),
        (0.2, -0.01, 0.4, "no rise", "interval that includes 0"),
        (0.2, float("nan"), float("nan"), "unknown", "no interval for the rise"),
    ],
)
def test_the_result_follows_estimate_and_interval(
    rising: ReportTables, rise: float, lo: float, hi: float, result: str, words: str
) -> None:
    headline = rising.headline.with_columns(rise=pl.lit(rise), rise_lo=pl.lit(lo), rise_hi=pl.lit(hi))
    found = finding(headline, rising.claims, "subject")
    assert found.result == result
    assert words in found.lead


def test_unfinished_studies_conclude_nothing(planted_tables: Callable[..., ReportTables], rising: ReportTables) -> None:
    late = planted_tables(0.5, steps=(8, 64))
    assert "large has no checkpoint of step 0" in _found(late).lead
    assert category_sentence(late.emergence_over_time, "subject", "large").startswith("Without step 0")
    assert "one checkpoint only" in _found(planted_tables(0.5, steps=(0,))).lead
    assert _found(planted_tables(0.5, steps=(0,))).result == "unknown"
    assert (
        finding(rising.headline.clear(), rising.claims, "subject").lead
        == "There is no result for subject categories yet."
    )


def test_the_sentence_about_sizes_has_the_result_of_the_scale_table(rising: ReportTables) -> None:
    said = size_sentence(rising.emergence_over_scale, "subject")
    assert "Result of the scale table: insufficient, fewer than five sizes" in said
    up = rising.emergence_over_scale.with_columns(rise=pl.lit(0.1), rise_lo=pl.lit(0.05), rise_hi=pl.lit(0.15))
    assert "are clearer than those of the smallest" in size_sentence(up, "subject")
    assert "+0.100 (95 % interval +0.050 to +0.150)" in size_sentence(up, "subject")
    flat = rising.emergence_over_scale.with_columns(rise=pl.lit(0.1), rise_lo=pl.lit(-0.05), rise_hi=pl.lit(0.15))
    assert size_sentence(flat, "subject").startswith("No difference between sizes is shown")
    one = rising.emergence_over_scale.with_columns(n_sizes=pl.lit(1))
    assert "one size only" in size_sentence(one, "subject")
    assert size_sentence(rising.emergence_over_scale.clear(), "subject") == "There is no comparison of sizes yet."


def test_no_layer_stands_out_when_the_interval_of_the_peak_is_wide(rising: ReportTables) -> None:
    wide = rising.emergence_over_space.with_columns(peak_depth_lo=pl.lit(0.1), peak_depth_hi=pl.lit(1.0))
    assert "no layer stands out" in layer_sentence(wide, "subject", "large")
    narrow = rising.emergence_over_space.with_columns(peak_depth_lo=pl.lit(0.5), peak_depth_hi=pl.lit(0.6))
    assert "from 50 to 60 % of the depth." in layer_sentence(narrow, "subject", "large")
    assert layer_sentence(rising.emergence_over_space, "subject", "small") == ""  # one layer


def test_category_sentence_counts_emerged_categories(rising: ReportTables) -> None:
    assert "6 of 6 categories have emerged" in category_sentence(rising.emergence_over_time, "subject", "large")


def test_numbers_are_written_with_their_sign_or_as_unknown() -> None:
    assert (number(0.5), signed(-0.0314), signed(0.25), number(None)) == (
        "0.500",
        "\N{MINUS SIGN}0.031",
        "+0.250",
        UNKNOWN,
    )
    assert (span(0.1, float("nan")), span(0.1, 0.2)) == (UNKNOWN, "0.100 to 0.200")


def test_a_rise_that_the_claims_do_not_support_is_not_called_emergence(rising: ReportTables) -> None:
    failed = pl.Series([["random_encoder"]] * len(rising.claims), dtype=pl.List(pl.String))
    doubtful = rising.claims.with_columns(grade=pl.lit("reject"), passes_gate=pl.lit(True), controls_failed=failed)
    found = finding(rising.headline, doubtful, "subject")
    assert found.result == "not supported"
    assert "may not be called emergence (failed controls: random_encoder)" in found.lead
    assert finding(rising.headline, rising.claims.clear(), "subject").result == "not supported"


def test_limits_name_the_seeds_that_the_study_has(rising: ReportTables) -> None:
    one = "\n".join(finding(rising.headline, rising.claims, "subject", 1).limits)
    assert "the study has one run of each model, and the intervals cover the choice of texts only." in one
    several = "\n".join(finding(rising.headline, rising.claims, "subject", 2).limits)
    assert "the choice of texts and of SAE seeds" in several
    replicated = "\n".join(finding(rising.headline, rising.claims, "subject", 2, has_replicates=True).limits)
    assert "one run of each model" not in replicated
    assert "table of training runs" in replicated


def test_dictionaries_and_words_that_know_less_stand_beside_the_latent(rising: ReportTables) -> None:
    told = finding(rising.headline, rising.claims, "subject", 1, controls=rising.category_controls).controls
    mean = rising.category_controls.filter(model="large", aggregate="mean", control_id="dict_gauss").row(0, named=True)
    assert (
        f"an SAE trained on Gaussian rows with the mean and covariance of the real ones has {mean['p_best']:.3f}"
        in told
    )
    assert f"In layer {mean['layer']}, the best one, the latent has {mean['p_measured']:.3f} at the last step" in told
    for name in ("the best single word", "words of a text in random order"):
        assert name in told
    nothing = finding(rising.headline, rising.claims, "subject", 1, controls=rising.category_controls.clear()).controls
    assert nothing == _found(rising).controls


def test_latents_of_their_own_are_counted_beside_those_of_random_encoders(rising: ReportTables) -> None:
    row = rising.headline.filter(model="large", control_id="none").row(0, named=True)
    told = f"{row['n_own_last']:.1f} of {row['n_categories']} have one in a layer of large"
    assert f"{told} ({row['n_own_random_last']:.1f} in random encoders)" in _limits(rising)


def test_categories_whose_latents_the_model_uses_are_counted(rising: ReportTables) -> None:
    assert "without other latents, for 1 of the 3 categories of large that were tested." in _limits(rising)
    untested = rising.claims.filter(pl.col("kind") != "use")
    told = "\n".join(finding(rising.headline, untested, "subject", 2).limits)
    assert "no latent was removed, because no category rises or" in told


def test_categories_that_gaussian_rows_explain_are_counted(rising: ReportTables) -> None:
    is_one = pl.col("category") == "fish"
    failed = pl.when(is_one).then(pl.lit(["dict_gauss"])).otherwise(pl.lit([], pl.List(pl.String)))
    claims = rising.claims.with_columns(controls_failed=failed, grade=pl.lit("B"))
    told = "\n".join(finding(rising.headline, claims, "subject", 2).limits)
    assert (
        "1 of the 6 that improve by more than random directions do not exceed an SAE trained on Gaussian rows" in told
    )
    assert "covariance" not in "\n".join(
        finding(
            rising.headline, claims.with_columns(controls_failed=pl.lit([], pl.List(pl.String))), "subject", 2
        ).limits
    )
