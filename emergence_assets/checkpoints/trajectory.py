"""How far apart the checkpoints of a model are, from the samples of their weights. Pure numpy.

Belongs here: distances and cosines between steps. Does not belong here: what is concluded from them (`verdicts.py`).

Shape suffixes: s steps · g tensor groups · w sampled weights.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from emergence_assets.checkpoints.measurement import Measurement


class Trajectory(NamedTuple):
    """Checkpoints of one architecture, by step."""

    steps: tuple[int, ...]
    """Ascending."""
    distances_ss: np.ndarray
    """Root mean square difference of the sampled weights; a metric, in the unit of the weights. Every group counts by
    the number of its weights."""
    group_distances_gss: np.ndarray
    """The same for each tensor group by itself."""
    relative_ss: np.ndarray
    """Distance in units of the larger of the two models: 0 is equal, 1.4 is unrelated and as large."""
    cosines_ss: np.ndarray
    """Cosine of the weights, 1 is equal up to scale."""
    groups: tuple[str, ...]
    """Groups that have matrices."""


def trajectory(measurements: Mapping[int, Measurement]) -> Trajectory:
    """Distances and cosines between all steps; they must have the same architecture."""
    steps = tuple(sorted(measurements))
    if not steps:
        nothing = np.zeros((0, 0))
        return Trajectory((), nothing, np.zeros((0, 0, 0)), nothing, nothing, ())
    first = measurements[steps[0]]
    kept = [position for position, size in enumerate(first.sample_sizes) if size]
    bounds = np.cumsum([0, *first.sample_sizes])
    sizes_g = np.array([first.group_sizes[position] for position in kept], np.float64)
    dots_gss = []
    for position in kept:
        part = slice(bounds[position], bounds[position + 1])
        sample_sw = np.stack([measurements[step].sample[part] for step in steps]).astype(np.float64)
        dots_gss.append(sample_sw @ sample_sw.T / sample_sw.shape[1])
    dots = np.stack(dots_gss)
    group_distances = np.stack([_distances(dots_ss) for dots_ss in dots])
    whole_ss = np.einsum("g,gst->st", sizes_g / sizes_g.sum(), dots)
    norms_s = np.sqrt(np.diag(whole_ss))
    norms_ss = np.outer(norms_s, norms_s)
    cosines = np.where(norms_ss > 0, whole_ss / np.where(norms_ss > 0, norms_ss, 1), 0.0)
    np.fill_diagonal(cosines, 1.0)
    groups = tuple(first.groups[position] for position in kept)
    distances = _distances(whole_ss)
    larger_ss = np.maximum.outer(norms_s, norms_s)
    relative = distances / np.where(larger_ss > 0, larger_ss, 1)
    return Trajectory(steps, distances, group_distances, relative, np.clip(cosines, -1, 1), groups)


def _distances(dots_ss: np.ndarray) -> np.ndarray:
    squares_s = np.diag(dots_ss)
    apart_ss = np.maximum(squares_s[:, None] + squares_s[None, :] - 2 * dots_ss, 0)
    # Below the rounding of the products themselves two samples are equal.
    apart_ss[apart_ss < 1e-12 * (squares_s[:, None] + squares_s[None, :])] = 0
    return np.sqrt(apart_ss)
