"""Tables of presence with known profiles over depth and the noise of texts and SAEs."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.presence.seed_draws import nested_means
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
from emergence_assets.features.statistics.formulas import interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """Standard deviations, in AUROC."""

    texts: float = 0.03
    """Noise of presence over texts; the SAEs of a layer share half of its variance."""
    saes: float = 0.03
    """Noise of presence over SAE seeds, beyond the noise of texts."""
    n_seeds: int = 2
    n_boot: int = 200


def planted_presence(
    trained_cl: Floats, step0_cl: Floats, dense_cl: Floats, noise: Noise, rng: np.random.Generator
) -> pl.DataFrame:
    """Make `category_presence` of one model at steps 0 and 1000, for categories with the given profiles.

    Args:
        trained_cl: true p_best at step 1000, categories × layers.
        step0_cl: true p_best at step 0.
        dense_cl: true p_dense, at both steps.
        noise: standard deviations of the estimates.
        rng: generator of the noise.
    """
    return pl.concat(
        [_checkpoint(step, p_best, dense_cl, noise, rng) for step, p_best in ((0, step0_cl), (1000, trained_cl))]
    )


def _checkpoint(step: int, p_cl: Floats, dense_cl: Floats, noise: Noise, rng: np.random.Generator) -> pl.DataFrame:
    n_layers = p_cl.shape[1]
    n_rows, n_seeds, n_boot = p_cl.size, noise.n_seeds, noise.n_boot
    category, layer = (index.ravel() for index in np.indices(p_cl.shape))
    seeds_rk = p_cl.reshape(-1, 1) + noise.saes * rng.normal(size=(n_rows, n_seeds))
    select_rk = seeds_rk + _of_texts(noise.texts, n_rows, n_seeds, 1, rng)[..., 0]
    seeds_rk += _of_texts(noise.texts, n_rows, n_seeds, 1, rng)[..., 0]
    drawn_rkb = seeds_rk[..., None] + _of_texts(noise.texts, n_rows, n_seeds, n_boot, rng)
    cells = [("planted", step, int(at)) for at in layer]
    kinds = [("none", "subject")] * n_rows
    replicates = nested_means(drawn_rkb.reshape(-1, n_boot), seeds_rk.ravel(), np.full(n_rows, n_seeds), cells, kinds)
    p_dense = dense_cl.ravel() + noise.texts * rng.normal(size=n_rows)
    replicates_dense = p_dense[:, None] + noise.texts * rng.normal(size=(n_rows, n_boot))
    lists = pl.List(pl.Float32)
    frame = pl.DataFrame(
        {
            "layer": layer,
            "category": [f"c{i:03}" for i in category],
            "p_select": select_rk.mean(axis=1),
            "p_best": seeds_rk.mean(axis=1),
            "p_seeds": pl.Series(seeds_rk.astype(np.float32), dtype=lists),
            "p_dense": p_dense,
            "replicates": pl.Series(replicates.astype(np.float32), dtype=lists),
            "replicates_dense": pl.Series(replicates_dense.astype(np.float32), dtype=lists),
        }
        | dict(zip(("p_best_lo", "p_best_hi"), interval(replicates), strict=True))
    ).with_columns(
        model=pl.lit("planted"),
        n_params_nonemb=pl.lit(1_000_000),
        step=pl.lit(step),
        tokens_seen=pl.lit(step * 512),
        n_layers=pl.lit(n_layers),
        rel_depth=(pl.col("layer") + 1) / n_layers,
        control_id=pl.lit("none"),
        category_level=pl.lit("subject"),
        n_seeds=pl.lit(noise.n_seeds),
        n_boot=pl.lit(noise.n_boot),
    )
    absent = [
        pl.lit(None, dtype).alias(name) for name, dtype in CATEGORY_PRESENCE.schema.items() if name not in frame.columns
    ]
    return frame.with_columns(absent).select(
        pl.col(name).cast(dtype) for name, dtype in CATEGORY_PRESENCE.schema.items()
    )


def _of_texts(deviation: float, n_rows: int, n_seeds: int, n: int, rng: np.random.Generator) -> Floats:
    """Draw the noise of texts, rows × seeds × n."""
    shared, own = rng.normal(size=(n_rows, 1, n)), rng.normal(size=(n_rows, n_seeds, n))
    return deviation * np.sqrt(0.5) * (shared + own)
