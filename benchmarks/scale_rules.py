"""Error rates of the rules over sizes on simulated families of 5, 8 and 10 sizes.

A family has categories whose presence follows log10 of the parameters; every size is one training run, and every score
is measured on the same texts. The rules read the mean over categories and the number of strong ones.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from emergence_assets.emergence.presence.headline import STRONG
from emergence_assets.emergence.scale.size_curves import RUN_SD, size_curve

KINDS = {
    "threshold": "threshold",
    "smooth": "smooth",
    "flat": "absent",
    "saturated": "saturated",
    "count artefact": "metric_artifact",
}
"""Planted kind → correct shape."""
N_SIZES = (5, 8, 10)
N_CATEGORIES = 20
N_BOOT = 200
TEXT_SD, SHARED = 0.03, 0.5
"""Standard error of one AUROC with about 80 positives, and the correlation of errors that sizes share by texts."""
DECADES = 0.5
"""Distance between neighbouring sizes in decades, as in Pythia."""
DRAWS = 200


def measure_scale_rules() -> dict[str, dict[str, Any]]:
    """Measure the rate of every shape by planted kind and number of sizes, for means and for single categories."""
    table = {}
    for kinds, n_categories, suffix in (
        (tuple(KINDS), N_CATEGORIES, ""),
        (("threshold", "smooth"), 1, ", one category"),
    ):
        for kind, n_sizes in product(kinds, N_SIZES):
            rng = np.random.default_rng([n_sizes, len(kind), *([1] if suffix else [])])
            families = [draw_family(kind, n_sizes, rng, n_categories) for _ in range(DRAWS)]
            shapes = {name: round(rate, 3) for name, rate in rates(families).items()}
            table[f"{kind}, {n_sizes} sizes{suffix}"] = shapes
    return table


def rates(curves: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Compute the share of every shape."""
    return {shape: n / len(curves) for shape, n in sorted(Counter(curve["shape"] for curve in curves).items())}


def draw_family(kind: str, n_sizes: int, rng: np.random.Generator, n_categories: int = N_CATEGORIES) -> dict[str, Any]:
    """Simulate one family and apply the rules to the mean over its categories.

    Args:
        kind: one of `KINDS`.
        n_sizes: number of sizes.
        rng: generator of the draw.
        n_categories: number of categories in the mean.
    """
    x_m = 5 + DECADES * np.arange(n_sizes)
    p_cm = 0.55 + _planted(kind, x_m, n_categories, rng)
    run_sd = RUN_SD["none" if n_categories == 1 else "mean"]
    # The effect of a run is shared by all its categories, to the extent by which means differ between runs.
    shared = RUN_SD["mean"] if n_categories > 1 else 0.0
    own = np.sqrt(RUN_SD["none"] ** 2 - shared**2)
    p_cm = p_cm + rng.normal(0, shared, p_cm.shape[1]) + rng.normal(0, own, p_cm.shape)
    error_cb = _text_errors(n_categories, 1, n_sizes, rng)[..., 0]
    p_cm = np.clip(p_cm + error_cb, 0, 1)
    p_cmb = p_cm[..., None] + _text_errors(n_categories, N_BOOT, n_sizes, rng)
    step0_c = 0.55 + rng.normal(0, TEXT_SD, n_categories)
    step0_cb = step0_c[:, None] + rng.normal(0, TEXT_SD, (n_categories, N_BOOT))
    p_m, p_mb = p_cm.mean(axis=0), p_cmb.mean(axis=0)
    return size_curve(
        np.round(10**x_m).astype(np.int64),
        p_m,
        p_mb,
        p_m - step0_c.mean(),
        p_mb - step0_cb.mean(axis=0),
        (p_cm >= STRONG).sum(axis=0).astype(float),
        run_sd,
    )


def _planted(kind: str, x_m: np.ndarray, n_categories: int, rng: np.random.Generator) -> np.ndarray:
    """Make the true gain of every category at every size; categories differ in height."""
    height_c1 = rng.uniform(0.15, 0.35, (n_categories, 1))
    place_m = (x_m - x_m[0]) / (x_m[-1] - x_m[0])
    if kind == "threshold":
        middle = rng.uniform(0.25, 0.75)
        return height_c1 * (0.5 + 0.5 * np.tanh((place_m - middle) / 0.05))
    if kind == "smooth":
        return height_c1 * place_m
    if kind == "flat":
        return np.zeros((n_categories, len(x_m)))
    if kind == "saturated":
        return np.broadcast_to(height_c1, (n_categories, len(x_m)))
    # All categories grow evenly and equally, so that all become strong between the same two sizes.
    at = rng.integers(1, len(x_m) - 1)
    line = STRONG - 0.55
    slope = rng.uniform(0.06, 0.09) / (x_m[1] - x_m[0])
    return np.broadcast_to(line + slope * (x_m - (x_m[at] + x_m[at + 1]) / 2), (n_categories, len(x_m)))


def _text_errors(n_categories: int, n_draws: int, n_sizes: int, rng: np.random.Generator) -> np.ndarray:
    """Draw errors by category, size and draw; half of their variance is shared by the sizes."""
    own = rng.normal(0, TEXT_SD * np.sqrt(1 - SHARED), (n_categories, n_sizes, n_draws))
    return own + rng.normal(0, TEXT_SD * np.sqrt(SHARED), (n_categories, 1, n_draws))
