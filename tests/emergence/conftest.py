"""A small study with planted concepts: cells measured on codes whose selectivity is known."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
import pytest

from emergence_assets.emergence.presence.presence import category_presence
from emergence_assets.features.statistics.cell_tables import CellRecipe, dense_scores, presence_cell
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels

N_TEXTS, N_CATEGORIES, N_LATENTS = 3000, 5, 16
RECIPE = CellRecipe(n_boot=60, n_shuffles=3)

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
    ) -> pl.DataFrame:
        labels, frames = _labels(), []
        rng = np.random.default_rng(0)
        category = labels.codes_p
        for model, n_params in sizes.items():
            for step in steps:
                for layer in range(n_layers):
                    for sae_seed in sae_seeds:
                        rate = np.full((N_TEXTS, N_LATENTS), 0.08)
                        for c in range(N_CATEGORIES):
                            rate[category == c, c] += strength(model, step, layer, c)
                        active = rng.random(rate.shape) < rate
                        values = np.where(active, rng.random(rate.shape) + 0.1, 0).astype(np.float32)
                        indices = np.broadcast_to(np.arange(N_LATENTS, dtype=np.int32), values.shape)
                        read_out = rng.normal(size=(N_TEXTS, 4))
                        dense = dense_scores(read_out, [labels], RECIPE)
                        cell = presence_cell(Codes(values, indices, N_LATENTS), dense, [labels], RECIPE)
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
    ) -> pl.DataFrame:
        return category_presence(planted_cells(strength, sizes or {"s": 200_000}, steps, n_layers, sae_seeds), bow)

    return make
