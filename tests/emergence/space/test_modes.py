"""Modes: two separate modes count as two; noise and a single mode do not."""

import numpy as np
import pytest

from emergence_assets.emergence.space.modes import count_modes, dip, dip_test, largest_swing

RNG = np.random.default_rng


@pytest.mark.parametrize(
    ("profile", "depth", "at"),
    [
        ([1, 2, 3], 0, 0),
        ([3, 2, 1], 0, 0),
        ([1, 3, 1], 0, 0),
        ([3, 0, 2], 2, 1),
        ([5, 4, 1, 3, 2, 4], 3, 2),
        ([2, 2, 2], 0, 0),
        ([7], 0, 0),
    ],
)
def test_the_dip_statistic_is_the_depth_of_the_deepest_dip(profile: list[float], depth: float, at: int) -> None:
    found, position = dip(np.array([profile], dtype=float))
    assert (found[0], position[0]) == (depth, at)


def test_the_dip_of_one_mode_and_noise_is_at_most_the_swing_of_the_noise() -> None:
    """The bound behind the p-value, for modes, slopes and plateaus of any shape."""
    rng = RNG(0)
    peak = rng.integers(0, 12, 2000)
    steps = rng.exponential(size=(2000, 12)) * (rng.random((2000, 12)) < 0.4)
    direction = np.where(np.arange(12) <= peak[:, None], 1, -1)
    one_hump = np.cumsum(steps * direction, axis=1)
    assert dip(one_hump)[0].max() < 1e-9
    noise = rng.normal(size=(2000, 12))
    assert (dip(one_hump + noise)[0] <= largest_swing(noise) + 1e-9).all()


@pytest.mark.parametrize("n_layers", [6, 24])
@pytest.mark.parametrize("shape", ["flat", "rising", "hump", "late plateau"])
def test_noise_on_one_mode_rarely_gives_two(shape: str, n_layers: int) -> None:
    u = (np.arange(n_layers) + 0.5) / n_layers
    true = {
        "flat": 0 * u + 0.3,
        "rising": 0.3 * u,
        "hump": 0.3 * np.exp(-(((u - 0.5) / 0.2) ** 2)),
        "late plateau": 0.3 * (u > 0.3),
    }
    rng = RNG(n_layers)
    profiles = true[shape] + 0.03 * rng.normal(size=(400, n_layers))
    replicates = profiles[..., None] + 0.03 * rng.normal(size=(400, n_layers, 100))
    p, swing = dip_test(profiles, replicates)
    assert (p < 0.05).mean() <= 0.05
    assert (count_modes(profiles, swing) > 1).mean() <= 0.05


def test_two_separate_modes_are_two() -> None:
    u = (np.arange(12) + 0.5) / 12
    true = 0.3 - 0.3 * ((u > 1 / 3) & (u < 2 / 3))
    rng = RNG(3)
    profiles = true + 0.03 * rng.normal(size=(200, 12))
    replicates = profiles[..., None] + 0.03 * rng.normal(size=(200, 12, 100))
    p, swing = dip_test(profiles, replicates)
    assert (p < 0.05).mean() > 0.95
    assert (count_modes(profiles, swing) == 2).mean() > 0.95


def test_modes_at_the_ends_are_counted() -> None:
    profiles = np.array([[5, 0, 5, 0, 5], [0, 5, 5, 5, 0], [5, 4, 3, 2, 1], [5, 0, 0, 0, 4], [5, 4, 5, 4, 5]], float)
    np.testing.assert_array_equal(count_modes(profiles, np.full(5, 2.0)), [3, 1, 1, 2, 1])


def test_undefined_replicates_give_no_p_value() -> None:
    p, swing = dip_test(np.zeros((2, 3)), np.stack([np.full((3, 10), np.nan), np.zeros((3, 10))]))
    assert np.isnan(p).tolist() == np.isnan(swing).tolist() == [True, False]
