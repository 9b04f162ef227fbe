"""Intervals, pairing and means of replicates."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from emergence_assets.emergence.presence.replicates import group_means, p_not_above_zero, replicate_array, with_step0
from emergence_assets.features.statistics.formulas import interval
from resources.errors import EmergenceError


def test_undefined_replicates_are_left_out_until_most_are() -> None:
    values = np.tile(np.linspace(0, 1, 101), (3, 1))
    values[1, :40], values[2, :60] = np.nan, np.inf
    lo, hi = interval(values)
    np.testing.assert_allclose(lo, [0.025, np.quantile(values[1, 40:], 0.025), np.nan])
    np.testing.assert_allclose(hi, [0.975, np.quantile(values[1, 40:], 0.975), np.nan])
    assert interval(values[0])[0] == pytest.approx(0.025)
    assert np.isnan(interval(np.zeros((2, 0)))[0]).all()


def test_p_value_is_normal_in_units_of_the_bootstrap_error() -> None:
    replicates = np.array([0.1, 0.2, 0.3, np.nan])
    assert p_not_above_zero(0.2, replicates) == pytest.approx(norm.sf(2))
    assert p_not_above_zero(0.2, np.full(5, 0.2)) == 0
    assert p_not_above_zero(0.0, np.zeros(5)) == 1
    assert np.isnan(p_not_above_zero(0.2, np.array([np.nan, 1.0])))


def test_group_means_leave_out_undefined_values() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan], [5.0, 7.0]])
    np.testing.assert_array_equal(group_means(values, np.array([2, 1])), [[2, np.nan], [5, 7]])


def test_step0_is_found_for_null_categories_too() -> None:
    table = pl.DataFrame(
        {"category": ["a", "a", None, None, "b"], "step": [0, 4, 4, 0, 4], "p_best": [0.5, 0.6, 0.7, 0.8, 0.9]}
    )
    p_best, p_step0, step0_rb = with_step0(table, ("category",), table["p_best"].to_numpy()[:, None])
    assert p_best.tolist() == table["p_best"].to_list()
    np.testing.assert_array_equal(p_step0, [0.5, 0.5, 0.8, 0.8, np.nan])
    np.testing.assert_array_equal(step0_rb[:, 0], p_step0)


def test_unequal_numbers_of_replicates_are_refused() -> None:
    table = pl.DataFrame({"replicates": [[0.1, 0.2], [0.1]]})
    with pytest.raises(EmergenceError, match="not paired"):
        replicate_array(table)
