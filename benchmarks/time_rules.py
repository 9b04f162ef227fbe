"""Error rates of the rules over training steps: false emergence, power, bias and coverage of the half step.

Series of presence are a known curve plus noise, partly shared by all checkpoints (the same texts) and partly
independent, with replicates of both; the code behind `emergence_over_time` reads them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emergence_assets.emergence.presence.replicates import MARGIN
from emergence_assets.emergence.time.rises import Series, has_risen, is_dated, read_rises
from emergence_assets.features.statistics.formulas import benjamini_hochberg

STEPS = (0, 8, 16, 32, 64, 128, 256, 400, 550, 700, 1000, 1400, 2000)
"""Thirteen checkpoints, as a study of the embedded family may have."""
N_CATEGORIES = 50
"""Series of one multiple-testing correction."""
N_SEEDS, N_BOOT = 2, 200


@dataclass(frozen=True)
class Planted:
    """A rise of presence over training steps."""

    amp: float
    """Rise in AUROC."""
    middle: float
    """log10(step + 1) at half of the rise."""
    width: float
    """Logistic width in decades; from 10 to 90 % it takes 4.394 times as long."""

    def at(self, step_s: NDArray[np.integer]) -> NDArray[np.float64]:
        """AUROC at each checkpoint."""
        return 0.56 + self.amp / (1 + np.exp(-(np.log10(step_s + 1.0) - self.middle) / self.width))


def drawn_series(truth_s: NDArray[np.float64], steps: NDArray[np.integer], n: int, sd: float, seed: int) -> Series:
    """Draw series around a truth: noise with standard deviation sd at every step, and sd shared by all steps.

    SAE seeds and texts each contribute half of the variance at a step. Replicates repeat the noise as in the pipeline:
    they are centred on the observed values, with the variance of a seed pooled over the series of a step.
    """
    rng = np.random.default_rng(seed)
    size = (n, len(steps))
    of_texts, of_seeds = sd * np.sqrt(0.5), sd * np.sqrt(0.5 * N_SEEDS)
    common = truth_s + sd * rng.normal(size=(n, 1)) + of_texts * rng.normal(size=size)
    seeds_rsq = common[..., None] + of_seeds * rng.normal(size=(*size, N_SEEDS))
    value = seeds_rsq.mean(axis=-1)
    of_mean_s = np.sqrt(seeds_rsq.var(axis=-1, ddof=1).mean(axis=0) / N_SEEDS)
    replicates = value[..., None] + sd * rng.normal(size=(n, 1, N_BOOT))
    replicates += of_texts * rng.normal(size=(*size, N_BOOT)) + of_mean_s[:, None] * rng.normal(size=(*size, N_BOOT))
    return Series(steps, value, replicates, seeds_rsq)


def with_criteria(series: Series) -> dict[str, NDArray[Any]]:
    """Make columns of `emergence_over_time` with both criteria; `N_CATEGORIES` series are corrected together."""
    read = read_rises(series)
    families = np.array_split(read["p_value"], max(1, len(read["p_value"]) // N_CATEGORIES))
    q = np.concatenate([benjamini_hochberg(family) for family in families])
    passes = has_risen(read, q, np.full(len(q), N_SEEDS), MARGIN)
    return read | {
        "passes_gate": passes,
        "is_dated": passes & is_dated(read, np.full(len(q), len(series.step_s)), MARGIN),
    }


def outcome(truth: Planted, steps: NDArray[np.integer], n: int, sd: float, seed: int) -> dict[str, float]:
    """Measure the shares of risen and dated series, and for the dated bias, spread and coverage of the half step."""
    read = with_criteria(drawn_series(truth.at(steps), steps, n, sd, seed))
    emerged = read["is_dated"]
    found: dict[str, float] = {name: float(read[name].mean()) for name in ("passes_gate", "is_dated")}
    if truth.amp == 0 or emerged.sum() < 10:
        return found
    error = np.log10(read["half_step"][emerged] + 1) - truth.middle
    by_hand = np.log10(read["half_step_interp"][emerged] + 1) - truth.middle
    changed = np.log10(steps[read["changepoint"][emerged]] + 1) - truth.middle
    step = 10**truth.middle - 1
    covered = (read["half_step_lo"][emerged] <= step) & (step <= read["half_step_hi"][emerged])
    return found | {
        "bias, decades": float(error.mean()),
        "median error": float(np.median(error)),
        "spread": float(error.std()),
        "coverage": float(covered.mean()),
        "interval, decades": float(
            np.median(np.log10((read["half_step_hi"] + 1) / (read["half_step_lo"] + 1))[emerged])
        ),
        "bias of interpolation": float(np.nanmean(by_hand)),
        "spread of interpolation": float(np.nanstd(by_hand)),
        "bias of the change point": float(changed.mean()),
        "line is best": float((read["best_model"][emerged] == "linear").mean()),
    }


def measure_time_rules(n: int = 1000) -> dict[str, dict[str, float]]:
    """One row per planted curve and set of checkpoints, n series each.

    False emergence should stay at or below 1 %, power at a rise of 0.15 under noise of 0.02 above 90 %, bias below 0.05
    decades, coverage between 0.90 and 0.99.
    """
    steps, flat = np.array(STEPS), Planted(0, 2, 0.2)
    rows = {f"flat, noise {sd}": outcome(flat, steps, 4 * n, sd, 1) for sd in (0.005, 0.02, 0.04)}
    for amp, sd in ((0.15, 0.02), (0.15, 0.01), (0.08, 0.02), (0.3, 0.02)):
        for middle in (1.5, 2.0, 2.6, 3.0):
            for width in (0.05, 0.2, 0.4) if (amp, sd) == (0.15, 0.02) else (0.2,):
                truth = Planted(amp, middle, width)
                rows[f"rise {amp}, noise {sd}, half at {10**middle - 1:.0f}, width {width}"] = outcome(
                    truth, steps, n, sd, 2
                )
    for kept in range(7, 13):
        some = np.unique(steps[np.round(np.linspace(0, len(steps) - 1, kept)).astype(int)])
        rows[f"{kept} checkpoints, rise 0.15, noise 0.02"] = outcome(Planted(0.15, 2.0, 0.2), some, n, 0.02, 3)
        rows[f"{kept} checkpoints, flat"] = outcome(flat, some, n, 0.02, 4)
    return rows
