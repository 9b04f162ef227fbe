"""Tables of presence whose profiles over depth are known, with the noise of texts and of SAEs."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.schema import PRESENCE_SCHEMA
from emergence_assets.emergence.seed_draws import seed_draws
from emergence_assets.features.statistics import interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """Standard deviations, in AUROC."""

    texts: float = 0.03
    """Of a layer's presence over texts; the bootstrap sees it."""
    saes: float = 0.03
    """Of a layer's presence over SAE seeds; the bootstrap over texts does not."""
    n_seeds: int = 2
    n_boot: int = 200


def planted_presence(
    trained_cl: Floats, step0_cl: Floats, dense_cl: Floats, noise: Noise, rng: np.random.Generator
) -> pl.DataFrame:
    """`category_presence` of step 0 and step 1000 of one model, its categories having these true profiles.

    Args:
        trained_cl: true p_best at step 1000, categories × layers.
        step0_cl: at step 0.
        dense_cl: true p_dense, at both steps.
        noise: how far estimates are off.
        rng: of the noise.
    """
    return pl.concat(
        [_checkpoint(step, p_best, dense_cl, noise, rng) for step, p_best in ((0, step0_cl), (1000, trained_cl))]
    )


def _checkpoint(step: int, p_cl: Floats, dense_cl: Floats, noise: Noise, rng: np.random.Generator) -> pl.DataFrame:
    n_layers = p_cl.shape[1]
    seeds_clk = noise.saes * rng.normal(size=(*p_cl.shape, noise.n_seeds))
    seeds_clk += (p_cl + noise.texts * rng.normal(size=p_cl.shape))[..., None]
    p_best = seeds_clk.mean(axis=-1)
    p_dense = dense_cl + noise.texts * rng.normal(size=p_cl.shape)
    replicates, replicates_dense = (
        (value[..., None] + noise.texts * rng.normal(size=(*p_cl.shape, noise.n_boot))).reshape(-1, noise.n_boot)
        for value in (p_best, p_dense)
    )
    # Texts move all SAE seeds of a layer, a draw of its seeds moves their mean: what `category_presence` does.
    draws_lkb = np.stack([seed_draws(("planted", step, at), noise.n_seeds, noise.n_boot) for at in range(n_layers)])
    replicates += np.einsum("clk,lkb->clb", seeds_clk, draws_lkb).reshape(-1, noise.n_boot)
    category, layer = np.indices(p_cl.shape)
    lists = pl.List(pl.Float32)
    frame = pl.DataFrame(
        {
            "layer": layer.ravel(),
            "category": [f"c{i:03}" for i in category.ravel()],
            "p_best": p_best.ravel(),
            "p_seeds": pl.Series(seeds_clk.reshape(-1, noise.n_seeds).astype(np.float32), dtype=lists),
            "p_dense": p_dense.ravel(),
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
        p_select=pl.col("p_best"),
        n_seeds=pl.lit(noise.n_seeds),
        n_boot=pl.lit(noise.n_boot),
    )
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in PRESENCE_SCHEMA.items() if name not in frame.columns]
    return frame.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in PRESENCE_SCHEMA.items())
