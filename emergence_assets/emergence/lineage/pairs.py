"""Pairs of SAEs that are compared, by axis.

* step: a checkpoint with the next checkpoint, layer by layer, between different SAE seeds. SAEs of one layer and seed
  start from the same random directions at every step and may share only that start. Equal seeds are compared too, to
  measure the effect of the common start.
* seed: different SAE seeds of one cell; the ceiling of all other comparisons.
* layer: each layer with the next, and each layer of the first third with all later layers, at the last step.
* size: a layer with the layer of the next larger model nearest in relative depth, at the last step of both models.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from emergence_assets.emergence.lineage.read_latents import SAEKey
from emergence_assets.emergence.space.thirds import part_of_layers


class Pair(NamedTuple):
    """Two SAEs to compare."""

    axis: str
    """step, seed, layer or size."""
    source: SAEKey
    target: SAEKey


def next_seeds(seeds: Sequence[int]) -> dict[int, int]:
    """Map each SAE seed to its comparison seed, in a circle; a single seed maps to itself."""
    ordered = sorted(seeds)
    return dict(zip(ordered, [*ordered[1:], ordered[0]], strict=True))


def pairs_over_steps(steps: Sequence[int], layer: int, seeds: Sequence[int]) -> list[Pair]:
    """List the comparisons within one layer, in order of steps: between neighbouring checkpoints and between seeds."""
    partner, ordered = next_seeds(seeds), sorted(steps)
    found = [
        Pair("step", SAEKey(step, layer, seed), SAEKey(later, layer, other))
        for step, later in pairwise(ordered)
        for seed in sorted(seeds)
        for other in sorted({seed, partner[seed]})
    ]
    # Two seeds are compared once: matching is symmetric.
    circle = sorted({tuple(sorted(pair)) for pair in partner.items() if pair[0] != pair[1]})
    found += [Pair("seed", SAEKey(step, layer, a), SAEKey(step, layer, b)) for step in ordered for a, b in circle]
    return sorted(found, key=lambda pair: (pair.source.step, pair.target.step))


def pairs_over_layers(step: int, layers: Sequence[int], n_layers: int, seeds: Sequence[int]) -> list[Pair]:
    """List the comparisons between layers of one checkpoint, without the embedding (-1): one vector for all texts."""
    blocks = sorted(layer for layer in layers if layer >= 0)
    part = dict(zip(blocks, part_of_layers(np.array(blocks, np.int64), n_layers).tolist(), strict=True))
    between = set(pairwise(blocks)) | {(a, b) for a in blocks for b in blocks if part[a] == 0 and part[b] > 0}
    return [
        Pair("layer", SAEKey(step, a, seed), SAEKey(step, b, other))
        for a, b in sorted(between)
        for seed, other in next_seeds(seeds).items()
    ]


def pairs_over_sizes(
    steps: tuple[int, int], layers: tuple[Sequence[int], Sequence[int]], n_layers: tuple[int, int], seeds: Sequence[int]
) -> list[Pair]:
    """List the comparisons of a model with a larger model, between different SAE seeds.

    Args:
        steps: compared step of each model.
        layers: layers of each model that have SAEs.
        n_layers: number of blocks of each model.
        seeds: SAE seeds.
    """
    own, others = (sorted(layer for layer in known if layer >= 0) for known in layers)
    return [
        Pair("size", SAEKey(steps[0], layer, seed), SAEKey(steps[1], nearest, other))
        for layer in own
        if others
        # The shallower layer wins a tie.
        for nearest in [min(others, key=lambda at: abs((at + 1) / n_layers[1] - (layer + 1) / n_layers[0]))]
        for seed, other in next_seeds(seeds).items()
    ]
