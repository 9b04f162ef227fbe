"""The tally gives the q-values of sorting all p-values of a study at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emergence_assets.emergence.categorical_latents.p_values import PValueTally
from emergence_assets.features.statistics.formulas import benjamini_hochberg

P = st.sampled_from([0.0, 1e-300, 1e-9, 1e-4, 0.01, 0.02, 0.3, 0.30000001, 1.0])


@given(st.lists(st.tuples(st.lists(P, max_size=8), st.integers(0, 20)), min_size=1, max_size=6))
def test_it_equals_benjamini_hochberg_over_everything(cells: list[tuple[list[float], int]]) -> None:
    tally = PValueTally()
    for p, n_unknown in cells:
        tally.add(p, len(p) + n_unknown)
    every = np.array([value for p, _ in cells for value in p])
    if not len(every):
        return
    n_tests = sum(len(p) + n_unknown for p, n_unknown in cells)
    assert tally.n_tests == n_tests
    np.testing.assert_allclose(tally.q(every), benjamini_hochberg(every, n_tests), rtol=1e-12, atol=0)


def test_what_is_kept_does_not_grow_with_repeats() -> None:
    tally, p = PValueTally(), np.linspace(0.01, 1, 5000)
    for _ in range(100):
        tally.add(p, 5000)
    q = tally.q(p)
    assert len(tally._value) == 5000
    np.testing.assert_allclose(q, benjamini_hochberg(np.tile(p, 100))[:5000], rtol=1e-12)


def test_unknown_p_values_and_impossible_counts_are_refused() -> None:
    tally = PValueTally()
    with pytest.raises(ValueError, match="2 p-values of 1 tests"):
        tally.add([0.1, 0.2], 1)
    with pytest.raises(ValueError, match="not taken in"):
        tally.q([0.1])
    tally.add([0.1], 3)
    with pytest.raises(ValueError, match="not taken in"):
        tally.q([0.2])
