"""Distances and cosines between checkpoints against dense computations, and the trajectory from step to step."""

import math
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emergence_assets.checkpoints.identity.measurement import Measurement
from emergence_assets.checkpoints.identity.trajectory import Trajectory, trajectory
from tests.family import STEPS, read_weights, step_folder
from tests.measured import weights_measured


def flat(family: Path, step: int) -> np.ndarray:
    """Concatenate all weights of a checkpoint except vectors, which are not sampled."""
    weights = read_weights(step_folder(family, "gloss-tiny", step))
    return np.concatenate([weights[name].ravel() for name in sorted(weights) if weights[name].ndim > 1]).astype(float)


def on_a_line(clean: dict[int, Measurement], places: dict[int, float]) -> Trajectory:
    """Make checkpoints with equal weights plus a multiple of one direction."""
    first = clean[0]
    direction = np.random.default_rng(0).normal(size=len(first.sample)).astype(np.float32)
    return trajectory({step: replace(first, sample=first.sample + at * direction) for step, at in places.items()})


def test_estimates_lie_within_their_error_of_the_values_from_all_weights(
    family: Path, clean: dict[int, Measurement]
) -> None:
    path = trajectory(clean)
    for one, other in pairwise(STEPS):
        a, b = flat(family, one), flat(family, other)
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        place = tuple(path.places([one, other]))
        assert path.cosines_ss[place] == pytest.approx(cosine, abs=5 * (1 - cosine**2) / math.sqrt(4096) + 1e-6)
        distance = np.sqrt(np.mean((a - b) ** 2))
        assert path.distances_ss[place] == pytest.approx(distance, rel=0.1)
        larger = max(np.sqrt(np.mean(a**2)), np.sqrt(np.mean(b**2)))
        assert path.relative_ss[place] == pytest.approx(distance / larger, rel=0.1)


def test_a_checkpoint_is_at_no_distance_from_itself_and_from_a_copy(clean: dict[int, Measurement]) -> None:
    path = trajectory({0: clean[0], 8: clean[8], 16: replace(clean[8])})
    assert np.array_equal(path.distances_ss == 0, [[1, 0, 0], [0, 1, 1], [0, 1, 1]])
    assert (path.group_distances_gss[:, 1, 2] == 0).all()
    assert path.cosines_ss[1, 2] == pytest.approx(1, abs=1e-12)
    assert path.similarity_ss[1, 2] == pytest.approx(1, abs=1e-12)


@given(data=st.data(), n=st.integers(2, 5))
def test_distance_is_a_metric_and_cosine_is_none_of_scale(
    clean: dict[int, Measurement], data: st.DataObject, n: int
) -> None:
    n_sampled = len(clean[0].sample)
    parts = data.draw(arrays(np.float32, (n, 40), elements=st.floats(-8, 8, width=32, allow_subnormal=False)))
    samples = np.resize(parts, (n, 40)).repeat(n_sampled // 40 + 1, axis=1)[:, :n_sampled]
    path = trajectory({step: replace(clean[0], sample=sample) for step, sample in enumerate(samples)})
    assert np.allclose(path.distances_ss, path.distances_ss.T)
    through = (path.distances_ss[:, :, None] + path.distances_ss[None, :, :]).min(axis=1)
    assert (path.distances_ss <= through + 1e-6).all()
    scaled = trajectory({step: replace(clean[0], sample=sample * 4) for step, sample in enumerate(samples)})
    assert np.allclose(scaled.cosines_ss, path.cosines_ss, atol=1e-6)
    assert np.allclose(scaled.distances_ss, path.distances_ss * 4, atol=1e-5)
    assert (np.abs(path.cosines_ss) <= 1).all()


def test_a_group_counts_by_the_number_of_its_weights(clean: dict[int, Measurement]) -> None:
    first = clean[0]
    bounds = np.cumsum([0, *first.sample_sizes])
    moved = first.sample.copy()
    moved[bounds[1] : bounds[2]] += 1  # block 0
    path = trajectory({0: first, 1: replace(first, sample=moved)})
    share = first.group_sizes[1] / sum(size for size, n in zip(first.group_sizes, first.sample_sizes, strict=True) if n)
    assert path.group_distances_gss[:, 0, 1] == pytest.approx([0, 1, 0, 0], abs=1e-6)
    assert path.distances_ss[0, 1] == pytest.approx(math.sqrt(share), rel=1e-5)


def test_weights_that_are_all_zero_have_no_cosine_and_no_kin(clean: dict[int, Measurement]) -> None:
    path = trajectory({0: clean[0], 1: replace(clean[0], sample=clean[0].sample * 0)})
    assert (path.cosines_ss[0, 1], path.similarity_ss[0, 1]) == (0, 0)
    assert path.relative_ss[0, 1] == 1


def test_runs_of_other_seeds_are_no_kin_and_neighbours_in_time_are(
    clean: dict[int, Measurement], other_run: dict[int, Measurement]
) -> None:
    own = trajectory(clean).similarity_ss
    assert np.diag(own, 1).min() > 0.5
    both = trajectory(clean | {1000 + step: found for step, found in other_run.items()})
    assert np.abs(both.similarity_ss[: len(clean), len(clean) :]).max() < 0.15


def test_one_common_group_makes_no_similarity(clean: dict[int, Measurement], other_run: dict[int, Measurement]) -> None:
    own, other = clean[64], other_run[64]
    bounds = np.cumsum([0, *own.sample_sizes])
    sample = other.sample.copy()
    sample[bounds[3] : bounds[4]] = own.sample[bounds[3] : bounds[4]]  # unembedding
    path = trajectory({0: own, 1: replace(other, sample=sample)})
    assert path.cosines_ss[0, 1] > 0.3
    assert abs(path.similarity_ss[0, 1]) < 0.15


def test_no_other_order_of_a_clean_run_is_shorter_than_that_of_time(clean: dict[int, Measurement]) -> None:
    path = trajectory(clean)
    for first in range(len(STEPS) - 4):
        steps = STEPS[first : first + 5]
        ways = {order: path.stretches(order).sum() for order in permutations(steps)}
        assert ways[steps] <= min(ways.values()) * (1 + 1e-9)


def test_the_detour_of_a_step_is_the_increase_of_the_trajectory_length(clean: dict[int, Measurement]) -> None:
    path = trajectory(clean)
    others = [step for step in STEPS if step != 8]
    for place, added in enumerate(path.added(8, others)):
        way = path.stretches([*others[:place], 8, *others[place:]]).sum()
        assert added == pytest.approx(way - path.stretches(others).sum(), rel=1e-6)


def test_the_saving_of_an_exchange_is_the_decrease_of_the_trajectory_length(clean: dict[int, Measurement]) -> None:
    path, steps = trajectory(clean), list(STEPS)
    way = path.stretches(steps).sum()
    for other, saved in zip(steps, path.saved_by_exchange(4, steps), strict=True):
        exchanged = [{4: other, other: 4}.get(step, step) for step in steps]
        assert saved == pytest.approx(way - path.stretches(exchanged).sum(), abs=1e-9)


def test_a_step_at_an_even_speed_is_even_and_the_ends_are_undefined(clean: dict[int, Measurement]) -> None:
    path = on_a_line(clean, {10: 1.0, 20: 2.0, 40: 4.0, 80: 8.0, 160: 16.0})
    others = [10, 20, 80, 160]
    assert path.unevenness(40, others) == pytest.approx(0, abs=1e-3)
    late = on_a_line(clean, {10: 1.0, 20: 2.0, 60: 4.0, 80: 8.0, 160: 16.0})
    assert late.unevenness(60, others) > 1
    assert path.unevenness(10, [20, 40, 80]) == path.unevenness(160, [20, 40, 80]) == 0


def test_nothing_and_a_single_checkpoint_have_a_trajectory(family: Path) -> None:
    assert trajectory({}).steps == ()
    alone = trajectory({8: weights_measured(step_folder(family, "gloss-tinier", 8))})
    assert alone.distances_ss.tolist() == [[0]]
    assert alone.cosines_ss.tolist() == alone.similarity_ss.tolist() == [[1]]
