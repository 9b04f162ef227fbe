"""Seeds are drawn with their variance beyond texts: equal draws within a cell, independent draws between cells."""

import numpy as np
import pytest

from emergence_assets.emergence.presence.seed_draws import nested_means, seed_draws

N, B = 400, 300
CELLS = [("gloss", step, 0) for step in range(N)]
KIND = ("none", "subject")


def drawn(replicates: np.ndarray, values: np.ndarray, cells: list | None = None, n_seeds: int = 2) -> np.ndarray:
    n = len(values) // n_seeds
    return nested_means(replicates, values, np.full(n, n_seeds), cells or CELLS[:n], [KIND] * n)


def test_the_spread_is_that_of_a_mean_over_seeds() -> None:
    rng = np.random.default_rng(0)
    for n_seeds in (2, 3, 5):
        values = 0.6 + 0.02 * rng.normal(size=n_seeds)
        moved = values @ seed_draws(CELLS[0], n_seeds, 20_000)
        assert moved.mean() == pytest.approx(0, abs=5e-4)
        assert moved.std() == pytest.approx(values.std(ddof=1) / np.sqrt(n_seeds), rel=0.03)


def test_texts_and_seeds_are_each_counted_once() -> None:
    """Values have noise of seeds, of texts, and of both together; the bootstrap over texts contains the latter two."""
    rng = np.random.default_rng(1)
    of_seed, of_texts, of_both, n_categories, n_cells = 0.02, 0.03, 0.025, 40, 60
    n = n_cells * n_categories
    texts, replicate = of_texts * rng.normal(size=(n, 1)), of_texts * rng.normal(size=(n, 1, B))
    values = 0.6 + texts + (of_seed * rng.normal(size=(n, 2)) + of_both * rng.normal(size=(n, 2)))
    replicates = values[..., None] + replicate + of_both * rng.normal(size=(n, 2, B))
    cells = [("gloss", step, 0) for step in range(n_cells) for _ in range(n_categories)]
    found = nested_means(replicates.reshape(2 * n, B), values.ravel(), np.full(n, 2), cells, [KIND] * n)
    wanted = np.sqrt(of_texts**2 + of_both**2 / 2 + of_seed**2 / 2)
    assert np.sqrt(found.var(axis=1).mean()) == pytest.approx(wanted, rel=0.03)
    assert values.mean(axis=1).std() == pytest.approx(wanted, rel=0.05)


def test_without_noise_of_texts_two_seeds_have_their_whole_variance() -> None:
    rng = np.random.default_rng(2)
    values = 0.6 + 0.02 * rng.normal(size=2 * N)
    found = drawn(np.repeat(values[:, None], B, axis=1), values)
    # 0.02 is the deviation of a seed, so that of a mean of two is 0.02 / sqrt(2)
    assert np.sqrt(found.var(axis=1).mean()) == pytest.approx(0.02 / np.sqrt(2), rel=0.1)
    between = np.corrcoef(found)[np.triu_indices(N, 1)]
    assert np.abs(between).mean() < 0.07  # 300 independent draws: 0.046


def test_seeds_that_differ_by_texts_only_are_not_drawn() -> None:
    rng = np.random.default_rng(3)
    values = 0.6 + 0.02 * rng.normal(size=2 * N)
    replicates = values[:, None] + 0.03 * rng.normal(size=(2 * N, B))
    alone = replicates.reshape(N, 2, B).mean(axis=1)
    one_cell = nested_means(replicates, values, np.full(N, 2), [CELLS[0]] * N, [KIND] * N)
    np.testing.assert_allclose(one_cell, alone)


def test_everything_of_a_cell_draws_the_same_seeds_wherever_it_stands() -> None:
    values = np.array([0.5, 0.7, 0.5, 0.7])
    replicates = np.repeat(values[:, None], B, axis=1)
    both = drawn(replicates, values, [CELLS[0], CELLS[0]])
    np.testing.assert_array_equal(both[0], both[1])
    other = drawn(replicates, values, [CELLS[1], CELLS[0]])
    np.testing.assert_array_equal(other[1], both[0])
    assert not np.array_equal(other[0], both[0])


def test_one_seed_is_left_as_it_is_and_nothing_leaves_the_range() -> None:
    rng = np.random.default_rng(4)
    single = rng.random((3, B))
    np.testing.assert_array_equal(drawn(single, single[:, 0], n_seeds=1), single)
    values = np.array([0.2, 1.0])
    found = drawn(np.repeat(values[:, None], B, axis=1), values)
    assert found.max() == 1.0
    assert found.min() == pytest.approx(0.6 - 0.4 * np.sqrt(2), abs=1e-6)
    partly = np.repeat(values[:, None], B, axis=1)
    partly[:, :5] = np.nan
    undefined = drawn(partly, values)
    assert np.isnan(undefined[0, :5]).all()
    assert np.isfinite(undefined[0, 5:]).all()
