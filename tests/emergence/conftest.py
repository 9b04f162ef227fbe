"""A small study with planted concepts: cells measured on codes whose selectivity is known."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from emergence_assets.emergence.presence.presence import category_presence
from emergence_assets.features.statistics.cell_tables import CellRecipe, dense_scores, latent_stats
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels
from emergence_assets.features.statistics.presence_cell import presence_cell, random_presence_cell, with_rule

N_TEXTS, N_CATEGORIES, N_LATENTS = 3000, 5, 16
RECIPE = CellRecipe(n_boot=60, n_shuffles=3)
N_RANDOM = 2

Strength = Callable[[str, int, int, int], float]
"""(model, step, layer, category) → excess of the rate of the category's own latent on its texts."""


def _labels() -> Labels:
    rng = np.random.default_rng(99)
    codes = rng.integers(0, N_CATEGORIES, N_TEXTS).astype(np.int16)
    return Labels("subject", tuple(f"c{i}" for i in range(N_CATEGORIES)), codes, rng.random(N_TEXTS) < 0.5)


@pytest.fixture(scope="session")
def planted_cells() -> Callable[..., pl.DataFrame]:
    """Make the cells of a study; the texts of a latent are drawn independently in every cell and SAE seed."""

    def make(
        strength: Strength,
        sizes: Mapping[str, int],
        steps: Sequence[int],
        n_layers: int = 1,
        sae_seeds: Sequence[int] = (0,),
        in_random: Strength = lambda *_: 0.0,
    ) -> pl.DataFrame:
        labels, frames = _labels(), []
        rng, rng_of_random = np.random.default_rng(0), np.random.default_rng(1)
        category = labels.codes_p

        def drawn(rng: np.random.Generator, planted: Strength, *place: Any) -> Codes:
            rate = np.full((N_TEXTS, N_LATENTS), 0.08)
            for c in range(N_CATEGORIES):
                rate[category == c, c] += planted(*place, c)
            active = rng.random(rate.shape) < rate
            values = np.where(active, rng.random(rate.shape) + 0.1, 0).astype(np.float32)
            return Codes(values, np.broadcast_to(np.arange(N_LATENTS, dtype=np.int32), values.shape), N_LATENTS)

        for model, n_params in sizes.items():
            for step in steps:
                for layer in range(n_layers):
                    dictionaries = []
                    for sae_seed in sae_seeds:
                        codes = drawn(rng, strength, model, step, layer)
                        dense = dense_scores(rng.normal(size=(N_TEXTS, 4)), [labels], RECIPE)
                        stats = latent_stats(codes, [labels], RECIPE)
                        dictionaries.append((sae_seed, with_rule(presence_cell(codes, dense, [labels], RECIPE), stats)))
                    for draw in range(N_RANDOM):
                        codes = drawn(rng_of_random, in_random, model, step, layer)
                        random = random_presence_cell(codes, dense, [labels], RECIPE)
                        dictionaries.append((draw, with_rule(random, latent_stats(codes, [labels], RECIPE))))
                    for sae_seed, cell in dictionaries:
                        frames.append(
                            cell.with_columns(
                                pl.lit(model).alias("model"),
                                pl.lit(n_params, pl.Int64).alias("n_params_nonemb"),
                                pl.lit(step, pl.Int32).alias("step"),
                                pl.lit(step * 512, pl.Int64).alias("tokens_seen"),
                                pl.lit(layer, pl.Int16).alias("layer"),
                                pl.lit(n_layers, pl.Int16).alias("n_layers"),
                                pl.lit((layer + 1) / n_layers, pl.Float32).alias("rel_depth"),
                                pl.lit(sae_seed, pl.Int16).alias("sae_seed"),
                                pl.lit(f"{model}-{step}-{layer}-{sae_seed}").alias("data_version"),
                            )
                        )
        return pl.concat(frames)

    return make


@pytest.fixture(scope="session")
def bow() -> pl.DataFrame:
    """A lexical control with one value for all categories."""
    return pl.DataFrame(
        {
            "control_id": ["none"] * N_CATEGORIES + ["label_shuffle"] * N_CATEGORIES,
            "category_level": ["subject"] * (2 * N_CATEGORIES),
            "category": [f"c{i}" for i in range(N_CATEGORIES)] * 2,
            "p_bow": [0.8] * N_CATEGORIES + [0.5] * N_CATEGORIES,
        },
        schema_overrides={"p_bow": pl.Float32},
    )


@pytest.fixture(scope="session")
def planted_presence(planted_cells: Callable[..., pl.DataFrame], bow: pl.DataFrame) -> Callable[..., pl.DataFrame]:
    """Make `category_presence` of `planted_cells`."""

    def make(
        strength: Strength,
        sizes: Mapping[str, int] | None = None,
        steps: Sequence[int] = (0, 1),
        n_layers: int = 1,
        sae_seeds: Sequence[int] = (0,),
        in_random: Strength = lambda *_: 0.0,
    ) -> pl.DataFrame:
        cells = planted_cells(strength, sizes or {"s": 200_000}, steps, n_layers, sae_seeds, in_random)
        return category_presence(cells, bow)

    return make
