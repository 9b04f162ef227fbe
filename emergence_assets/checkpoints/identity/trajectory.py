"""Distances and cosines between the checkpoints of a model, from samples of their weights. Pure numpy.

Shape suffixes: s steps · g tensor groups · w sampled weights.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from emergence_assets.checkpoints.identity.measurement import Measurement


class Trajectory(NamedTuple):
    """Distances and cosines between checkpoints of one architecture, by step."""

    steps: tuple[int, ...]
    """Ascending."""
    sizes_s: np.ndarray
    """Root mean square of the sampled weights."""
    distances_ss: np.ndarray
    """Root mean square difference of the sampled weights; a metric, in the unit of the weights. Every group is weighted
    by its number of weights."""
    group_distances_gss: np.ndarray
    """Root mean square difference of the sampled weights of each tensor group."""
    relative_ss: np.ndarray
    """Distance divided by the larger of the two sizes: 0 for equal models, 1.4 for unrelated models of equal size."""
    cosines_ss: np.ndarray
    """Cosine of the weights, 1 is equal up to scale."""
    similarity_ss: np.ndarray
    """Median over groups of the cosine of their weights; near 0 between runs of different seeds. The cosine of all
    weights need not be near 0, because the rows of an unembedding share a direction that can dominate it."""
    groups: tuple[str, ...]
    """Groups that have matrices."""

    def places(self, steps: Sequence[int]) -> np.ndarray:
        """Return the indices of steps in the arrays."""
        return np.searchsorted(self.steps, steps)

    def size(self, step: int) -> float:
        """Return the root mean square of the weights of a step."""
        return float(self.sizes_s[self.places([step])[0]])

    def distances(self, step: int, others: Sequence[int], group: int | None = None) -> np.ndarray:
        """Return the distances from a step to other steps, of all weights or of one group."""
        return self._table(group)[self.places([step])[0], self.places(others)]

    def stretches(self, steps: Sequence[int], group: int | None = None) -> np.ndarray:
        """Return the distance from each step to the next; the steps need not ascend."""
        places = self.places(steps)
        return self._table(group)[places[:-1], places[1:]]

    def added(self, step: int, others: Sequence[int], group: int | None = None) -> np.ndarray:
        """Return the increase of the trajectory length when a step is inserted, for each place among other steps.

        At either end the increase is one distance, between two steps a detour. The trajectory of a clean run is
        shortest in the order of time.
        """
        to = self.distances(step, others, group)
        return np.concatenate([to[:1], to[:-1] + to[1:] - self.stretches(others, group), to[-1:]])

    def saved_by_exchange(self, step: int, steps: Sequence[int]) -> np.ndarray:
        """Return the decrease of the trajectory length when `step` swaps its weights with each of `steps`."""
        places, row, own = self.places(steps), np.arange(len(steps)), list(steps).index(step)
        orders = np.tile(places, (len(steps), 1))
        orders[:, own] = places
        orders[row, row] = places[own]
        lengths = self.distances_ss[orders[:, :-1], orders[:, 1:]].sum(axis=1)
        return lengths[own] - lengths

    def unevenness(self, step: int, others: Sequence[int]) -> float:
        """Sum the absolute changes of the logarithm of the weights' speed around a step.

        Undefined at the ends of the run, where 0 is returned.
        """
        before = [other for other in others if other < step][-2:]
        after = [other for other in others if other > step][:2]
        if not before or not after:
            return 0.0
        order = [*before, step, *after]
        speeds = np.maximum(self.stretches(order), 1e-12) / np.diff(order)
        return float(np.abs(np.diff(np.log(speeds))).sum())

    def _table(self, group: int | None) -> np.ndarray:
        return self.distances_ss if group is None else self.group_distances_gss[group]


def trajectory(measurements: Mapping[int, Measurement]) -> Trajectory:
    """Compute distances and cosines between all steps; they must have the same architecture."""
    steps = tuple(sorted(measurements))
    if not steps:
        nothing = np.zeros((0, 0))
        return Trajectory((), np.zeros(0), nothing, np.zeros((0, 0, 0)), nothing, nothing, nothing, ())
    first = measurements[steps[0]]
    kept = [position for position, size in enumerate(first.sample_sizes) if size]
    bounds = np.cumsum([0, *first.sample_sizes])
    sizes_g = np.array([first.group_sizes[position] for position in kept], np.float64)
    dots_gss = []
    for position in kept:
        part = slice(bounds[position], bounds[position + 1])
        sample_sw = np.stack([measurements[step].sample[part] for step in steps]).astype(np.float64)
        dots_gss.append(sample_sw @ sample_sw.T / sample_sw.shape[1])
    whole_ss = np.einsum("g,gst->st", sizes_g / sizes_g.sum(), np.stack(dots_gss))
    distances_ss = _distances(whole_ss)
    sizes_s = np.sqrt(np.diag(whole_ss))
    larger_ss = np.maximum.outer(sizes_s, sizes_s)
    return Trajectory(
        steps=steps,
        sizes_s=sizes_s,
        distances_ss=distances_ss,
        group_distances_gss=np.stack([_distances(dots_ss) for dots_ss in dots_gss]),
        relative_ss=distances_ss / np.where(larger_ss > 0, larger_ss, 1),
        cosines_ss=_cosines(whole_ss),
        similarity_ss=np.median([_cosines(dots_ss) for dots_ss in dots_gss], axis=0),
        groups=tuple(first.groups[position] for position in kept),
    )


def _cosines(dots_ss: np.ndarray) -> np.ndarray:
    norms_s = np.sqrt(np.diag(dots_ss))
    norms_ss = np.outer(norms_s, norms_s)
    cosines_ss = np.where(norms_ss > 0, dots_ss / np.where(norms_ss > 0, norms_ss, 1), 0.0)
    np.fill_diagonal(cosines_ss, 1.0)
    # A difference below the rounding of the products, which depends on the processor, means equal samples.
    return np.where(np.abs(cosines_ss) > 1 - 1e-12, np.sign(cosines_ss), cosines_ss)


def _distances(dots_ss: np.ndarray) -> np.ndarray:
    squares_s = np.diag(dots_ss)
    apart_ss = np.maximum(squares_s[:, None] + squares_s[None, :] - 2 * dots_ss, 0)
    # A distance below the rounding of the products means equal samples.
    apart_ss[apart_ss < 1e-12 * (squares_s[:, None] + squares_s[None, :])] = 0
    return np.sqrt(apart_ss)
