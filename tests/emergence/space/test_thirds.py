"""Thirds of the depth: blocks by their centre."""

import numpy as np
import pytest

from emergence_assets.emergence.space.thirds import part_of_layers, part_weights


@pytest.mark.parametrize(
    ("n_layers", "sizes"),
    [(6, [2, 2, 2]), (7, [2, 3, 2]), (8, [3, 2, 3]), (12, [4] * 3), (36, [12] * 3), (2, [1, 0, 1])],
)
def test_thirds_are_as_equal_as_blocks_allow_and_mirror_each_other(n_layers: int, sizes: list[int]) -> None:
    part = part_of_layers(np.arange(n_layers), n_layers)
    assert np.bincount(part, minlength=3).tolist() == sizes
    assert (part == 2 - part[::-1]).all()


def test_layers_that_were_not_read_leave_the_others_where_they_are() -> None:
    weights = part_weights(np.array([0, 5, 6, 11]), 12)
    np.testing.assert_array_equal(weights, [[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]])
    assert np.isnan(part_weights(np.array([0, 11]), 12)[1]).all()
