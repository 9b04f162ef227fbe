"""Survival and half-life of known shares."""

import numpy as np
import pytest

from emergence_assets.emergence.lineage.survival import decades, half_lives, survival


def column(*shares: float) -> np.ndarray:
    return np.array(shares)[:, None]


def test_survival_is_the_product_of_the_ratios() -> None:
    np.testing.assert_allclose(survival(column(0.5, 0.8, 0.5))[:, 0], [0.5, 0.4, 0.2])


def test_shares_above_one_do_not_increase_survival() -> None:
    np.testing.assert_allclose(survival(column(1.3, 0.5))[:, 0], [1, 0.5])


def test_survival_begins_with_the_first_share_and_ends_at_a_gap() -> None:
    found = survival(column(np.nan, 0.5, 0.5, np.nan, 0.9))[:, 0]
    np.testing.assert_allclose(found, [np.nan, 0.5, 0.25, np.nan, np.nan])


def test_half_life_of_an_even_decay_is_its_own() -> None:
    x = np.array([0.0, 0.5, 1.5, 2.0, 4.0])
    shares = 0.5 ** (np.diff(x) / 0.8)  # half vanish every 0.8 decades
    found = half_lives(shares[:, None], x)[:, 0]
    np.testing.assert_allclose(found, 0.8, rtol=1e-9)


def test_half_life_goes_on_over_transitions_and_may_outlast_the_data() -> None:
    found = half_lives(column(0.8, 0.9, 0.25, 0.9), np.arange(5.0))[:, 0]
    assert 2 < found[0] < 3
    assert found[2] == pytest.approx(0.5)
    assert found[3] == np.inf


def test_an_undefined_share_leaves_the_half_life_open_only_if_it_is_reached() -> None:
    found = half_lives(column(0.4, np.nan, 0.9, 0.2), np.arange(5.0))[:, 0]
    assert found[0] < 1
    assert np.isnan(found[1])
    assert 1 < found[2] < 2


def test_time_is_in_decades_of_steps() -> None:
    np.testing.assert_allclose(decades(np.array([0, 9, 999])), [0, 1, 3])
