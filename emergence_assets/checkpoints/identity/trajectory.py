"""How far apart the checkpoints of a model are, from the samples of their weights. Pure numpy.

Shape suffixes: s steps · g tensor groups · w sampled weights.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from emergence_assets.checkpoints.identity.measurement import Measurement


class Trajectory(NamedTuple):
    """Checkpoints of one architecture, by step."""

    steps: tuple[int, ...]
    """Ascending."""
    sizes_s: np.ndarray
    """Root mean square of the sampled weights."""
    distances_ss: np.ndarray
    """Root mean square difference of the sampled weights; a metric, in the unit of the weights. Every group counts by
    the number of its weights."""
    group_distances_gss: np.ndarray
    """The same for each tensor group by itself."""
    relative_ss: np.ndarray
    """Distance in units of the larger of the two models: 0 is equal, 1.4 is unrelated and as large."""
    cosines_ss: np.ndarray
    """Cosine of the weights, 1 is equal up to scale."""
    similarity_ss: np.ndarray
    """Median over groups of the cosine of their weights. Between runs of other seeds it is near 0; the cosine of all
    weights need not be, as the rows of an unembedding have a direction in common that can outweigh all else."""
    groups: tuple[str, ...]
    """Groups that have matrices."""

    def places(self, steps: Sequence[int]) -> np.ndarray:
        """Where some of the steps stand in the tables."""
        return np.searchsorted(self.steps, steps)

    def size(self, step: int) -> float:
        """Root mean square of the weights of a step."""
        return float(self.sizes_s[self.places([step])[0]])

    def distances(self, step: int, others: Sequence[int], group: int | None = None) -> np.ndarray:
        """From one step to others; of one group, if given."""
        return self._table(group)[self.places([step])[0], self.places(others)]

    def stretches(self, steps: Sequence[int], group: int | None = None) -> np.ndarray:
        """From each of the steps to the next one; they need not ascend."""
        places = self.places(steps)
        return self._table(group)[places[:-1], places[1:]]

    def added(self, step: int, others: Sequence[int], group: int | None = None) -> np.ndarray:
        """Increase of the trajectory length over other steps when a step is inserted, for each place among them.

        Before the first and behind the last there is one stretch more, between two others a detour. The trajectory
        of a clean run is shortest in the order of time.
        """
        to = self.distances(step, others, group)
        return np.concatenate([to[:1], to[:-1] + to[1:] - self.stretches(others, group), to[-1:]])

    def saved_by_exchange(self, step: int, steps: Sequence[int]) -> np.ndarray:
        """Decrease of the trajectory length over `steps` when one of them exchanges its weights with each of them."""
        places, row, own = self.places(steps), np.arange(len(steps)), list(steps).index(step)
        orders = np.tile(places, (len(steps), 1))
        orders[:, own] = places
        orders[row, row] = places[own]
        lengths = self.distances_ss[orders[:, :-1], orders[:, 1:]].sum(axis=1)
        return lengths[own] - lengths

    def unevenness(self, step: int, others: Sequence[int]) -> float:
        """Change of the speed of the weights around a step between two others, as a sum of absolute logarithms.

        0 at the ends of the run, where it is not defined.
        """
        before, after = (
            [other for other in others if other < step][-2:],
            [other for other in others if other > step][:2],
        )
        if not before or not after:
            return 0.0
        order = [*before, step, *after]
        speeds = np.maximum(self.stretches(order), 1e-12) / np.diff(order)
        return float(np.abs(np.diff(np.log(speeds))).sum())

    def _table(self, group: int | None) -> np.ndarray:
        return self.distances_ss if group is None else self.group_distances_gss[group]


def trajectory(measurements: Mapping[int, Measurement]) -> Trajectory:
    """Distances and cosines between all steps; they must have the same architecture."""
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
    return np.clip(cosines_ss, -1, 1)


def _distances(dots_ss: np.ndarray) -> np.ndarray:
    squares_s = np.diag(dots_ss)
    apart_ss = np.maximum(squares_s[:, None] + squares_s[None, :] - 2 * dots_ss, 0)
    # Below the rounding of the products themselves two samples are equal.
    apart_ss[apart_ss < 1e-12 * (squares_s[:, None] + squares_s[None, :])] = 0
    return np.sqrt(apart_ss)
