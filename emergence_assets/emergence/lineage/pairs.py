"""Which SAEs of a model are compared, and what for.

* step: a checkpoint with the next one, layer by layer, between different SAE seeds. SAEs of one layer and seed start
  from the same random directions at every step; what they share may be that start. The same seed is compared too, and
  shows how much of it is.
* seed: different SAE seeds of one cell: the ceiling of everything else.
* layer: a layer with the next, and those of the first third with all later ones, at the last step.
* size: a layer with the one of the next larger model that lies nearest in relative depth, at the last step of both.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from emergence_assets.emergence.lineage.read_latents import SAEKey


class Pair(NamedTuple):
    """Two SAEs to be compared."""

    axis: str
    """step, seed, layer or size."""
    source: SAEKey
    target: SAEKey


def next_seeds(seeds: Sequence[int]) -> dict[int, int]:
    """Each SAE seed to the one that it is compared with, in a circle; a single one has only itself."""
    ordered = sorted(seeds)
    return dict(zip(ordered, [*ordered[1:], ordered[0]], strict=True))


def pairs_over_steps(steps: Sequence[int], layer: int, seeds: Sequence[int]) -> list[Pair]:
    """Comparisons within one layer, in order of steps: between neighbouring checkpoints, and between seeds."""
    partner, ordered = next_seeds(seeds), sorted(steps)
    found = [
        Pair("step", SAEKey(step, layer, seed), SAEKey(later, layer, other))
        for step, later in pairwise(ordered)
        for seed in sorted(seeds)
        for other in sorted({seed, partner[seed]})
    ]
    # Two seeds are compared once: a match is one from both sides.
    circle = sorted({tuple(sorted(pair)) for pair in partner.items() if pair[0] != pair[1]})
    found += [Pair("seed", SAEKey(step, layer, a), SAEKey(step, layer, b)) for step in ordered for a, b in circle]
    return sorted(found, key=lambda pair: (pair.source.step, pair.target.step))


def pairs_over_layers(step: int, layers: Sequence[int], n_layers: int, seeds: Sequence[int]) -> list[Pair]:
    """Comparisons between layers of one checkpoint; the embedding (-1) is the same vector for every text."""
    blocks = sorted(layer for layer in layers if layer >= 0)
    early = [layer for layer in blocks if third(layer, n_layers) == 0]
    between = set(pairwise(blocks)) | {(a, b) for a in early for b in blocks if b > a and third(b, n_layers) > 0}
    return [
        Pair("layer", SAEKey(step, a, seed), SAEKey(step, b, other))
        for a, b in sorted(between)
        for seed, other in next_seeds(seeds).items()
    ]


def pairs_over_sizes(
    steps: tuple[int, int], layers: tuple[Sequence[int], Sequence[int]], n_layers: tuple[int, int], seeds: Sequence[int]
) -> list[Pair]:
    """Comparisons of a model with a larger one, between different SAE seeds.

    Args:
        steps: step of each that is compared.
        layers: layers of each that there are SAEs of.
        n_layers: depth of each.
        seeds: of the SAEs.
    """
    own, others = (sorted(layer for layer in known if layer >= 0) for known in layers)
    return [
        Pair("size", SAEKey(steps[0], layer, seed), SAEKey(steps[1], nearest, other))
        for layer in own
        if others
        # Of two that lie as near, the shallower.
        for nearest in [min(others, key=lambda at: abs((at + 1) / n_layers[1] - (layer + 1) / n_layers[0]))]
        for seed, other in next_seeds(seeds).items()
    ]


def third(layer: int, n_layers: int) -> int:
    """0, 1 or 2: the third of the depth, (layer + 1) / n_layers, that a layer lies in."""
    return min(2, 3 * (layer + 1) // n_layers)
