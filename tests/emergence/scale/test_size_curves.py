"""Shapes over sizes: planted shapes are found, on arrays with known noise."""

from typing import Any

import numpy as np
import pytest

from benchmarks.scale_rules import KINDS, draw_family, rates
from emergence_assets.emergence.scale.size_curves import size_curve

N_M = np.array([10**5, 10**6, 10**7, 10**8, 10**9, 10**10])


def curve(p: Any, count: Any = None, error: float = 0.01, run_sd: float = 0.005) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    p_m = np.asarray(p, dtype=float)
    p_mb = p_m[:, None] + rng.normal(0, error, (len(p_m), 200))
    gain_m = p_m - 0.5
    return size_curve(N_M[: len(p_m)], p_m, p_mb, gain_m, p_mb - 0.5, count, run_sd)


def test_a_step_is_a_threshold_between_its_sizes() -> None:
    found = curve([0.5, 0.5, 0.5, 0.8, 0.8, 0.8])
    assert (found["shape"], found["n_lo"], found["n_hi"]) == ("threshold", 10**7, 10**8)
    assert found["n_half_lo"] <= 10**7
    assert found["n_half_hi"] >= 10**8
    assert found["n_half"] == pytest.approx(10**7.5, rel=0.2)
    assert found["n_width_dec"] < 1


def test_a_line_is_smooth_whatever_its_slope() -> None:
    for slope in (0.02, 0.06):
        found = curve(0.55 + slope * np.arange(6))
        assert found["shape"] == "smooth"
        assert found["slope_dec"] == pytest.approx(slope, abs=1e-9)
        assert not found["is_logistic"]


def test_a_bend_that_is_wide_is_no_threshold() -> None:
    found = curve([0.55, 0.66, 0.74, 0.78, 0.80, 0.805], error=0.002)
    assert found["d_aic_vs_linear"] > 4 or not found["is_logistic"]
    assert found["shape"] == "smooth"


def test_a_count_that_jumps_over_a_smooth_score_is_an_artefact() -> None:
    p = 0.55 + 0.05 * np.arange(6)
    found = curve(p, np.array([0.0, 0, 1, 30, 32, 33]))
    assert found["shape"] == "metric_artifact"
    assert found["metric_sensitivity"] > 3
    even = curve(p, np.array([0.0, 6, 12, 18, 24, 30]))
    assert (even["shape"], even["count_jumps"]) == ("smooth", False)
    assert even["metric_sensitivity"] == pytest.approx(1, abs=0.01)
    # A jump of the score itself is no artefact of the count.
    assert curve([0.5, 0.5, 0.5, 0.8, 0.8, 0.8], np.array([0.0, 0, 0, 30, 30, 30]))["shape"] == "threshold"


def test_counts_of_one_or_two_do_not_jump() -> None:
    assert not curve(0.55 + 0.05 * np.arange(6), np.array([0.0, 0, 0, 2, 2, 2]))["count_jumps"]


def test_a_falling_curve_claims_nothing() -> None:
    found = curve([0.8, 0.75, 0.7, 0.65, 0.6, 0.55])
    assert (found["is_rising"], found["shape"]) == (False, "saturated")
    assert "n_half" not in found


def test_the_interval_of_the_middle_is_never_narrower_than_the_gap() -> None:
    found = curve([0.5, 0.5, 0.5, 0.8, 0.8, 0.8], error=1e-5)
    assert found["n_half_lo"] <= 10**7 < 10**8 <= found["n_half_hi"]


def test_a_difference_within_the_spread_of_runs_is_no_rise() -> None:
    p = [0.55, 0.56, 0.58, 0.6, 0.61, 0.63]
    assert curve(p, run_sd=0.005)["shape"] == "smooth"
    found = curve(p, run_sd=0.06)
    assert (found["is_rising"], found["shape"]) == (False, "absent")
    assert found["rise_hi"] - found["rise_lo"] > 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_a_simulated_family_has_the_planted_shape(kind: str) -> None:
    rng = np.random.default_rng(1)
    found = rates([draw_family(kind, 8, rng) for _ in range(20)])
    # Whether a count jumps over a smooth score often depends on the noise between runs; the score is smooth in both.
    if KINDS[kind] in ("smooth", "metric_artifact"):
        assert found.get("smooth", 0) + found.get("metric_artifact", 0) >= 0.9
    assert found.get(KINDS[kind], 0) >= (0.15 if kind == "count artefact" else 0.5 if kind == "smooth" else 0.8)
    assert found.get("threshold", 0) <= 0.1 or kind == "threshold"
