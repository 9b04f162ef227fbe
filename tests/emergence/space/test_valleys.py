"""Valleys over depth: found by hand-made profiles, with windows that share no layer."""

import numpy as np
import pytest

from emergence_assets.emergence.space.valleys import locate_valleys, valley_depth, window_width, windowed


@pytest.mark.parametrize(("n_layers", "width"), [(1, 1), (6, 1), (8, 1), (12, 2), (24, 4), (30, 5), (36, 6)])
def test_a_window_is_a_sixth_of_the_depth(n_layers: int, width: int) -> None:
    assert window_width(n_layers) == width
    profile = np.arange(n_layers, dtype=float)[None]
    assert windowed(profile)[0].tolist() == [first + (width - 1) / 2 for first in range(n_layers - width + 1)]


def test_the_deepest_valley_is_that_below_the_lower_of_its_peaks() -> None:
    profiles = np.array(
        [[0.5, 0.1, 0.3, 0.0, 0.2, 0.6], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.6, 0.5, 0.6, 0.2, 0.3, 0.1]]
    )
    at = locate_valleys(profiles, 1)
    assert (at.peak_s[0], at.valley_s[0], at.return_s[0]) == (0, 3, 5)
    depth, ends = valley_depth(profiles, at)
    assert depth[0] == pytest.approx(0.5)
    assert ends[0] == pytest.approx(0.5)
    # A profile that rises throughout has none.
    assert depth[1] < 0
    assert depth[2] == pytest.approx(0.1)


def test_every_valley_is_as_deep_as_a_search_over_all_windows_finds() -> None:
    rng = np.random.default_rng(0)
    for n_layers in (6, 12, 24):
        profiles = windowed(rng.normal(size=(50, n_layers)))
        found, _ = valley_depth(profiles, locate_valleys(profiles, window_width(n_layers)))
        apart = window_width(n_layers)
        for profile, depth in zip(profiles, found, strict=True):
            every = (
                min(profile[i], profile[k]) - profile[j]
                for j in range(len(profile))
                for i in range(j - apart + 1)
                for k in range(j + apart, len(profile))
            )
            assert depth == pytest.approx(max(every))


def test_the_place_is_that_of_the_given_profile_and_not_of_the_measured_one() -> None:
    select, score = np.array([[0.5, 0.1, 0.5, 0.4, 0.5, 0.5]]), np.array([[0.5, 0.5, 0.5, 0.0, 0.5, 0.5]])
    at = locate_valleys(select, 1)
    assert at.valley_s[0] == 1
    assert valley_depth(score, at)[0][0] == 0
    replicates = np.repeat(score[..., None], 3, axis=2)
    assert valley_depth(replicates, at)[0].tolist() == [[0, 0, 0]]


def test_too_few_layers_have_no_valley() -> None:
    at = locate_valleys(np.array([[0.5, 0.1]]), 1)
    assert valley_depth(np.array([[0.5, 0.1]]), at)[0].tolist() == [0]
