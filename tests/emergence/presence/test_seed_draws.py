"""Seeds are drawn with their variance beyond texts, pooled over the categories of a cell."""

import numpy as np
import pytest

from benchmarks.seed_coverage import coverage
from emergence_assets.emergence.presence.seed_draws import nested_means, nested_relative_means

N, B = 400, 300
CELLS = [("gloss", step, 0) for step in range(N)]
KIND = ("none", "subject")


def drawn(
    replicates: np.ndarray, values: np.ndarray, cells: list | None = None, n_seeds: int = 2, kinds: list | None = None
) -> np.ndarray:
    n = len(values) // n_seeds
    return nested_means(replicates, values, np.full(n, n_seeds), cells or [CELLS[0]] * n, kinds or [KIND] * n)


def fixed(values: np.ndarray) -> np.ndarray:
    """Replicates without noise of texts."""
    return np.repeat(values[:, None], B, axis=1)


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


@pytest.mark.parametrize("n_seeds", [2, 4, 6])
def test_without_noise_of_texts_the_mean_has_the_variance_of_seeds(n_seeds: int) -> None:
    rng = np.random.default_rng(2)
    values = 0.6 + 0.02 * rng.normal(size=n_seeds * N)
    found = drawn(fixed(values), values, n_seeds=n_seeds)
    assert np.sqrt(found.var(axis=1).mean()) == pytest.approx(0.02 / np.sqrt(n_seeds), rel=0.1)
    between = np.corrcoef(found)[np.triu_indices(N, 1)]
    assert np.abs(between).mean() < 0.07  # 300 independent draws: 0.046


def test_seeds_that_agree_by_luck_are_known_no_better_than_others() -> None:
    rng = np.random.default_rng(5)
    values = 0.6 + 0.02 * rng.normal(size=(50, 2))
    values[0] = 0.6
    widths = drawn(fixed(values.ravel()), values.ravel()).std(axis=1)
    assert widths[0] == pytest.approx(widths.mean(), rel=0.15)


def test_seeds_that_differ_by_texts_only_are_not_drawn() -> None:
    rng = np.random.default_rng(3)
    values = 0.6 + 0.02 * rng.normal(size=2 * N)
    replicates = values[:, None] + 0.03 * rng.normal(size=(2 * N, B))
    np.testing.assert_allclose(drawn(replicates, values), replicates.reshape(N, 2, B).mean(axis=1))


def test_the_draws_of_a_block_are_the_same_wherever_it_stands() -> None:
    values = np.array([0.5, 0.7, 0.5, 0.7])
    first = drawn(fixed(values), values, [CELLS[1], CELLS[0]])
    second = drawn(fixed(values), values, [CELLS[0], CELLS[2]])
    np.testing.assert_array_equal(first[1], second[0])
    assert not np.array_equal(first[0], first[1])
    other = drawn(fixed(values), values, [CELLS[0]] * 2, kinds=[KIND, ("random_encoder", "subject")])
    np.testing.assert_array_equal(other[0], second[0])
    assert abs(np.corrcoef(other)[0, 1]) < 0.2


def test_one_seed_is_left_as_it_is_and_nothing_leaves_the_range() -> None:
    rng = np.random.default_rng(4)
    single = rng.random((3, B))
    np.testing.assert_array_equal(drawn(single, single[:, 0], n_seeds=1), single)
    values = np.array([0.8, 1.0])
    found = drawn(fixed(values), values)
    assert found.max() == 1.0
    partly = fixed(values)
    partly[:, :5] = np.nan
    undefined = drawn(partly, values)
    assert np.isnan(undefined[0, :5]).all()
    assert np.isfinite(undefined[0, 5:]).all()


@pytest.mark.parametrize("n_seeds", [2, 4])
def test_intervals_cover_the_truth(n_seeds: int) -> None:
    assert 0.92 < coverage(n_seeds, of_texts=0.03, of_seed=0.028, n_cells=40) < 0.98


@pytest.mark.parametrize("n_seeds", [2, 4])
def test_seeds_that_deviate_in_proportion_widen_large_effects_and_not_small_ones(n_seeds: int) -> None:
    rng = np.random.default_rng(6)
    effects = 10 ** rng.uniform(-3, 0, size=N)
    values = effects[:, None] * (1 + 0.3 * rng.normal(size=(N, n_seeds)))
    found = nested_relative_means(fixed(values.ravel()), values.ravel(), np.full(N, n_seeds), ("a", "block"))
    relative = found.std(axis=1) / np.abs(values.mean(axis=1))
    assert relative.mean() == pytest.approx(0.3 / np.sqrt(n_seeds), rel=0.25)
    assert relative.std() < 0.1 * relative.mean()
    np.testing.assert_allclose(found.mean(axis=1), values.mean(axis=1), rtol=0.1)


def test_texts_alone_leave_no_relative_deviation_and_one_seed_is_unchanged() -> None:
    rng = np.random.default_rng(7)
    noise = 0.02 * rng.normal(size=(2 * N, 1))
    values = 0.1 + noise[:, 0]
    replicates = values[:, None] + 0.02 * rng.normal(size=(2 * N, B))
    texts_only = np.reshape(replicates, (N, 2, B)).mean(axis=1)
    found = nested_relative_means(replicates, values, np.full(N, 2), ("texts",))
    assert found.std(axis=1).mean() == pytest.approx(texts_only.std(axis=1).mean(), rel=0.1)
    alone = nested_relative_means(replicates, values, np.ones(2 * N, int), ("texts",))
    np.testing.assert_array_equal(alone, replicates)
