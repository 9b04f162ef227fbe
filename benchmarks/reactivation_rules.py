"""Error rates of rules for reactivation over depth: a naive rule, the index alone, and the index with all criteria.

Profiles have a known shape and the noise of texts and SAEs (`planted_profiles.py`), 50 categories per study.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.planted_profiles import Noise, planted_presence
from emergence_assets.emergence.space.over_space import emergence_over_space
from emergence_assets.emergence.space.reactivation import reactivation
from emergence_assets.emergence.space.thirds import part_of_layers

Floats = NDArray[np.float64]

LAYERS = (6, 12, 18, 24, 30)
N_CATEGORIES, N_STUDIES = 50, 20
CHANCE, LEVEL = 0.55, 0.3
"""Presence before training, and the gain of a present category."""


def flat(depth_l: Floats) -> Floats:
    """The same gain in every layer."""
    return LEVEL + 0 * depth_l


def rising(depth_l: Floats) -> Floats:
    """From no gain at the first layer to the whole gain at the last."""
    return LEVEL * depth_l


def mode(depth_l: Floats) -> Floats:
    """The largest gain in the middle."""
    return LEVEL * np.exp(-(((depth_l - 0.5) / 0.2) ** 2))


def dip(depth_l: Floats, fall: float = 0.3, centre: float = 0.5) -> Floats:
    """A gain that is lower by `fall` in a third of the depth, by default the middle one."""
    return np.where(np.abs(depth_l - centre) < 1 / 6, LEVEL - fall, LEVEL)


SHAPES: Mapping[str, Callable[[Floats], Floats]] = {
    "flat": flat,
    "rising": rising,
    "hump": mode,
    "valley of .3": dip,
    "valley of .15": lambda depth_l: dip(depth_l, 0.15),
    "valley of .1": lambda depth_l: dip(depth_l, 0.1),
    "early valley of .15": lambda depth_l: dip(depth_l, 0.15, 1 / 3),
    "late valley of .15": lambda depth_l: dip(depth_l, 0.15, 2 / 3),
}


def measure_reactivation_rules(
    n_studies: int = N_STUDIES, layers: tuple[int, ...] = LAYERS, noise: Noise | None = None
) -> dict[str, dict[str, float]]:
    """Measure the share of categories accepted by each rule, a row per shape and number of layers."""
    figures: dict[str, dict[str, float]] = {}
    for n_layers in layers:
        for number, (name, shape) in enumerate(SHAPES.items()):
            rng = np.random.default_rng([n_layers, number])
            drawn = [fired(shape, n_layers, noise or Noise(), rng) for _ in range(n_studies)]
            figures[f"{name}, {n_layers} layers"] = _means(drawn)
        rng = np.random.default_rng([n_layers, len(SHAPES)])
        drawn = [step0_mode(n_layers, noise or Noise(), rng) for _ in range(n_studies)]
        figures[f"flat over a hump at step 0, {n_layers} layers"] = _means(drawn)
    return figures


def _means(drawn: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {rule: float(np.mean([shares[rule] for shares in drawn])) for rule in drawn[0]}


def fired(shape: Callable[[Floats], Floats], n_layers: int, noise: Noise, rng: np.random.Generator) -> dict[str, float]:
    """Measure the shares for one study of one shape; the dense probe follows it in every other category."""
    gain_cl = np.tile(shape((np.arange(n_layers) + 0.5) / n_layers), (N_CATEGORIES, 1))
    follows_c = np.arange(N_CATEGORIES) % 2 == 0
    dense_cl = np.where(follows_c[:, None], CHANCE + gain_cl, CHANCE + LEVEL)
    presence = planted_presence(CHANCE + gain_cl, np.full_like(gain_cl, CHANCE), dense_cl, noise, rng)
    rows = reactivation(presence).filter(step=1000, aggregate="none").sort("category")
    return _rules(presence, rows, n_layers) | _right_results(rows, follows_c)


def step0_mode(n_layers: int, noise: Noise, rng: np.random.Generator) -> dict[str, float]:
    """Measure a flat trained model over an untrained model with a mode: the gain has a dip."""
    depth_l = (np.arange(n_layers) + 0.5) / n_layers
    step0_cl = np.tile(CHANCE + 0.5 * mode(depth_l), (N_CATEGORIES, 1))
    trained_cl = np.full_like(step0_cl, CHANCE + LEVEL)
    presence = planted_presence(trained_cl, step0_cl, trained_cl, noise, rng)
    return _rules(presence, reactivation(presence).filter(step=1000, aggregate="none"), n_layers)


def _rules(presence: pl.DataFrame, rows: pl.DataFrame, n_layers: int) -> dict[str, float]:
    over_space = emergence_over_space(presence).filter(step=1000, aggregate="none")
    profiles = over_space.select(
        pl.col("profile").list.to_array(n_layers), pl.col("profile_step0").list.to_array(n_layers)
    )
    gain_cl = profiles["profile"].to_numpy() - profiles["profile_step0"].to_numpy()
    return {
        "naive": float(naive_rule(part_of_layers(np.arange(n_layers), n_layers), gain_cl).mean()),
        "drop >= .05": _share(rows["gate_drop"]),
        "gated": _share(rows["passes_gate"]),
        "two humps": _share(over_space["n_modes"] > 1),
        "dip p < .05": _share(over_space["dip_p"] < 0.05),
    }


def _right_results(rows: pl.DataFrame, follows_c: NDArray[np.bool_]) -> dict[str, float]:
    """Share of passing categories with the planted result."""
    expected = pl.Series(np.where(follows_c, "representational", "allocation"))
    passed = rows["passes_gate"]
    return {"right verdict of those": _share((rows["verdict"] == expected).filter(passed)) if passed.any() else np.nan}


def naive_rule(part_l: NDArray[np.integer], profile_cl: Floats) -> NDArray[np.bool_]:
    """Return whether the highest early and the highest late layer lie above the lowest middle layer."""
    early, mid, late = (profile_cl[:, part_l == part] for part in range(3))
    lowest = mid.min(axis=1)
    return (early.max(axis=1) > lowest) & (late.max(axis=1) > lowest)


def _share(truth: pl.Series) -> float:
    return float(truth.cast(pl.Float64).mean() or 0.0)  # pyright: ignore[reportArgumentType]
