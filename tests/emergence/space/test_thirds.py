"""Thirds of the depth: blocks by their centre, and the reactivation index."""

from fractions import Fraction

import numpy as np
import pytest

from emergence_assets.emergence.space.thirds import (
    QUARTERS,
    drop,
    part_means,
    part_of_layers,
    part_weights,
    reactivation_index,
)


@pytest.mark.parametrize(
    ("n_layers", "sizes"),
    [(6, [2, 2, 2]), (7, [2, 3, 2]), (8, [3, 2, 3]), (12, [4] * 3), (36, [12] * 3), (2, [1, 0, 1])],
)
def test_thirds_are_as_equal_as_blocks_allow_and_mirror_each_other(n_layers: int, sizes: list[int]) -> None:
    part = part_of_layers(np.arange(n_layers), n_layers)
    assert np.bincount(part, minlength=3).tolist() == sizes
    assert (part == 2 - part[::-1]).all()


def test_other_cuts_move_the_middle() -> None:
    assert part_of_layers(np.arange(12), 12, QUARTERS).tolist() == [0] * 3 + [1] * 3 + [2] * 6
    on_the_cut = part_of_layers(np.array([0, 1]), 2, (Fraction(1, 4), Fraction(3, 4)))
    assert on_the_cut.tolist() == [1, 2]


def test_layers_that_were_not_read_leave_the_others_where_they_are() -> None:
    weights = part_weights(np.array([0, 5, 6, 11]), 12)
    np.testing.assert_array_equal(weights, [[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]])
    assert np.isnan(part_weights(np.array([0, 11]), 12)[1]).all()


def test_the_index_is_the_share_that_is_lost_in_the_middle() -> None:
    profiles = np.array([[0.4, 0.4, 0.1, 0.1, 0.2, 0.2], [0.2] * 6, [0, 0, 0.3, 0.3, 0, 0], [0.3, 0.3, 0, 0, 0.5, 0.5]])
    parts = part_means(part_weights(np.arange(6), 6), profiles)
    np.testing.assert_allclose(drop(parts), [0.1, 0, -0.3, 0.3])
    np.testing.assert_allclose(reactivation_index(parts), [0.5, 0, np.nan, 1])
