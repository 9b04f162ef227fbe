"""Cost of stopping at the stop signal: the utility gained after it, over all prefixes of simulated training runs.

Curves rise once, or a second time after a plateau; every checkpoint measures the same texts.
"""

from typing import Any

import numpy as np

from emergence_assets.emergence.cost.stopping import has_risen, is_flat, trend

KINDS = ("one rise", "two rises", "never")
GRIDS = {"powers of two": 2, "powers of four": 4}
"""Checkpoints from step 1 to about 131,072."""
N_BOOT, DRAWS = 200, 400
READING_SD, TEXT_SD = 0.01, 0.02
"""Standard deviations of a mean excess: from the SAEs of a checkpoint, and from the texts; checkpoints share half of
the variance from the texts."""


def measure_stop_signal() -> dict[str, dict[str, Any]]:
    """Measure signal rates, regret and saved compute at the first signal, by curve and grid; rate without the gate."""
    return {
        f"{kind}, {name}": _measured(kind, factor, np.random.default_rng([factor, len(kind)]))
        for kind in KINDS
        for name, factor in GRIDS.items()
    }


def _measured(kind: str, factor: int, rng: np.random.Generator) -> dict[str, Any]:
    steps = np.array([0, *(factor**power for power in range(18) if factor**power <= 2**17)])
    regrets, saved, early = [], [], 0
    for _ in range(DRAWS):
        true_s = _curve(kind, np.log10(steps + 1.0), rng)
        shared, shared_b = rng.normal(0, TEXT_SD / np.sqrt(2)), rng.normal(0, TEXT_SD / np.sqrt(2), N_BOOT)
        own_s, own_sb = (rng.normal(0, READING_SD, shape) for shape in (len(steps), (len(steps), N_BOOT)))
        scale_s = np.minimum(true_s / 0.1, 1)  # texts have an effect on models with features only
        utility_s = true_s + own_s + shared * scale_s
        utility_sb = utility_s[:, None] + own_sb + shared_b * scale_s[:, None]
        signals = [
            (has_risen(utility_s[n - 1], utility_sb[n - 1]), is_flat(trend(steps[:n], utility_s[:n], utility_sb[:n])))
            for n in range(1, len(steps) + 1)
        ]
        early += next((not risen for risen, flat in signals if flat), False)
        first = next((n for n, (risen, flat) in enumerate(signals) if risen and flat), None)
        if first is not None:
            regrets.append(true_s[-1] - true_s[first])
            saved.append(1 - steps[first] / steps[-1])
    none = float("nan")
    return {
        "stopped": round(len(regrets) / DRAWS, 3),
        "mean regret": round(float(np.mean(regrets)) if regrets else none, 3),
        "regret, 95 % of runs below": round(float(np.quantile(regrets, 0.95)) if regrets else none, 3),
        "compute saved, median": round(float(np.median(saved)) if saved else none, 3),
        "too early without the gate": round(early / DRAWS, 3),
    }


def _curve(kind: str, x_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if kind == "never":
        return np.zeros_like(x_s)
    height, width = rng.uniform(0.2, 0.5), rng.uniform(0.1, 0.4)
    curve_s = height / (1 + np.exp(-(x_s - rng.uniform(1.5, 3.0)) / width))
    if kind == "two rises":
        curve_s = curve_s + 0.15 / (1 + np.exp(-(x_s - rng.uniform(4.2, 4.8)) / 0.1))
    return curve_s - curve_s[0]
