"""Rises: flat noise does not emerge, planted rises do, and intervals contain the planted values."""

import numpy as np
import pytest

from benchmarks.time_rules import N_SEEDS, STEPS, Planted, drawn_series, with_criteria
from emergence_assets.emergence.presence.replicates import last_crossing
from emergence_assets.emergence.time.rises import Series, read_rises

STEP = np.array(STEPS)
X = np.log10(STEP + 1.0)
N = 200


@pytest.fixture(scope="module")
def rise() -> dict[str, np.ndarray]:
    return with_criteria(drawn_series(Planted(0.15, 2.0, 0.2).at(STEP), STEP, N, 0.02, 1))


def test_flat_noise_does_not_emerge() -> None:
    found = with_criteria(drawn_series(Planted(0, 2, 0.2).at(STEP), STEP, 5 * N, 0.02, 2))
    assert found["passes_gate"].mean() <= 0.01


def test_a_planted_rise_is_found_without_bias_inside_its_interval(rise: dict[str, np.ndarray]) -> None:
    assert rise["passes_gate"].mean() >= 0.99
    assert 0.9 <= rise["is_dated"].mean() <= rise["passes_gate"].mean()
    error = (np.log10(rise["half_step"] + 1) - 2.0)[rise["is_dated"]]
    assert abs(error.mean()) < 0.05
    inside = ((rise["half_step_lo"] <= 99) & (rise["half_step_hi"] >= 99))[rise["is_dated"]]
    assert 0.9 <= inside.mean() <= 0.995
    assert np.median(rise["width_dec"]) == pytest.approx(4.394 * 0.2, rel=0.3)
    assert np.median(rise["rise_rate"]) == pytest.approx(0.15 / (4 * 0.2), rel=0.3)
    assert np.nanmedian(rise["seed_sd_dex"]) == pytest.approx(0.12, abs=0.08)


def test_intervals_are_never_narrower_than_the_gap(rise: dict[str, np.ndarray]) -> None:
    exact = Planted(0.3, 2.0, 0.1).at(STEP)
    still = Series(STEP, exact[None], np.repeat(exact[None, :, None], 50, axis=2), np.stack([exact] * 2, axis=1)[None])
    found = read_rises(still)
    assert (found["half_step_lo"][0], found["half_step_hi"][0]) == (64, 128)
    assert (STEP[found["grid_lo"][0]], STEP[found["grid_hi"][0]]) == (64, 128)
    for name in ("onset_step", "half_step", "complete_step"):
        known = np.isfinite(rise[name])
        estimate, lo, hi = (rise[name + side][known] for side in ("", "_lo", "_hi"))
        after = np.clip(np.searchsorted(STEP, estimate), 1, None)
        assert (lo <= STEP[after - 1]).all()
        assert (hi >= STEP[np.minimum(after, len(STEP) - 1)]).all()
    assert (rise["onset_step"] <= rise["half_step"])[rise["is_rising"]].all()


def test_a_step_after_the_last_checkpoint_is_unknown() -> None:
    exact = Planted(0.3, 3.2, 0.3).at(STEP)
    found = read_rises(Series(STEP, exact[None], np.repeat(exact[None, :, None], 9, axis=2), exact[None, :, None]))
    assert np.isnan(found["complete_step"]).all()
    assert found["half_step"][0] == pytest.approx(10**3.2 - 1, rel=0.01)
    assert np.isnan(found["seed_sd_dex"]).all()  # one seed


@pytest.mark.parametrize("last", [600, 1000, 1400, 2000, 143_000])
def test_a_half_step_never_lies_behind_the_last_checkpoint(last: int) -> None:
    """10 ** log10(601) is larger than 601."""
    steps = np.array([0, 16, 64, 128, 200, 300, 400, 500, last])
    late = 0.55 + 0.3 * (steps == last)
    series = Series(steps, late[None], np.repeat(late[None, :, None], 9, axis=2), late[None, :, None])
    found = read_rises(series)
    for name in ("onset_step", "half_step"):
        for end in ("", "_lo", "_hi"):
            assert not (found[f"{name}{end}"] > last).any()
    assert found["half_step"][0] > 500


def test_undefined_replicates_are_left_out(rise: dict[str, np.ndarray]) -> None:
    series = drawn_series(Planted(0.2, 2.0, 0.2).at(STEP), STEP, 2, 0.01, 3)
    replicates = series.replicates_rsb.copy()
    replicates[0, 5, :60], replicates[1, 5, :150] = np.nan, np.nan
    found = read_rises(Series(STEP, series.value_rs, replicates, series.seeds_rsq))
    whole = read_rises(series)
    assert found["fit_amp_hi"][0] == pytest.approx(whole["fit_amp_hi"][0], abs=0.02)
    assert np.isnan(found["fit_amp_hi"][1])
    assert np.isfinite(found["half_step_hi"]).all()  # the interval of the checkpoints remains


def test_seeds_that_disagree_do_not_emerge_and_a_rise_at_the_last_checkpoint_has_no_date() -> None:
    series = drawn_series(Planted(0.2, 2.0, 0.2).at(STEP), STEP, 20, 0.01, 4)
    assert with_criteria(series)["passes_gate"].all()
    seeds = series.seeds_rsq.copy()
    seeds[..., 1] = 0.56
    seeds[:, 0, 1] = 0.6
    other = Series(STEP, series.value_rs, series.replicates_rsb, seeds)
    assert not with_criteria(other)["passes_gate"].any()
    assert not with_criteria(other)["is_dated"].any()
    end = drawn_series(0.56 + 0.3 * (STEP[-1] == STEP), STEP, 20, 0.01, 5)
    assert with_criteria(end)["passes_gate"].any()
    assert not with_criteria(end)["is_dated"].any()


def test_interpolation_and_change_point_agree_with_a_sharp_rise() -> None:
    sharp = drawn_series(0.56 + 0.2 * (STEP >= 128), STEP, 50, 0.01, 6)
    found = read_rises(sharp)
    assert (STEP[found["changepoint"]] == 128).mean() > 0.9
    assert ((found["half_step_interp"] > 64) & (found["half_step_interp"] < 128)).all()
    fall = read_rises(drawn_series(0.76 - 0.2 * (STEP >= 128), STEP, 50, 0.01, 6))
    assert (fall["changepoint"] == -1).all()
    assert np.isnan(fall["half_step"]).all()
    assert np.isnan(fall["half_step_interp"]).all()
    x, before = last_crossing(np.array([0.0, 1.0, 2.0]), np.array([[0.0], [0.0], [1.0]]), np.array([0.5]))
    assert (x[0], before[0]) == (1.5, 1)


def test_two_seeds_are_drawn_with_the_variance_of_their_mean() -> None:
    series = drawn_series(np.full(len(STEP), 0.6), STEP, 400, 0.02, 7)
    # the benchmark's replicates have the spread of the observed values, as in the pipeline
    assert series.replicates_rsb.std(axis=2).mean() == pytest.approx(series.value_rs.std(axis=0).mean(), rel=0.1)
    assert N_SEEDS == 2
