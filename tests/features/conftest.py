"""Codes and labels with known content."""

from collections.abc import Callable

import numpy as np
import pytest

from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels


@pytest.fixture
def random_codes() -> Callable[..., Codes]:
    """Draw pure noise: every text activates k random latents; `n_levels` > 0 makes ties among the active latents."""

    def make(n_texts: int, n_latents: int, k: int, seed: int = 0, n_levels: int = 0) -> Codes:
        rng = np.random.default_rng(seed)
        indices = np.argsort(rng.random((n_texts, n_latents)), axis=1)[:, :k].astype(np.int32)
        values = rng.random((n_texts, k)) + 0.1
        if n_levels:
            values = np.floor(values * n_levels)  # some become zero: inactive
        return Codes(values.astype(np.float32), indices, n_latents)

    return make


@pytest.fixture
def random_labels() -> Callable[..., Labels]:
    """Draw random categories of equal probability; a share of the texts has no label."""

    def make(n_texts: int, n_categories: int, seed: int = 1, unlabelled: float = 0.1) -> Labels:
        rng = np.random.default_rng(seed)
        codes = np.where(rng.random(n_texts) < unlabelled, -1, rng.integers(0, n_categories, n_texts))
        names = tuple(f"c{i:02}" for i in range(n_categories))
        return Labels("subject", names, codes.astype(np.int16), rng.random(n_texts) < 0.5)

    return make


@pytest.fixture
def dense() -> Callable[[Codes], np.ndarray]:
    """Return activations as a dense array, texts × latents."""

    def make(codes: Codes) -> np.ndarray:
        full = np.zeros((len(codes.values_pk), codes.n_latents), dtype=np.float32)
        for p, k in zip(*np.nonzero(codes.values_pk > 0), strict=True):
            full[p, codes.indices_pk[p, k]] = codes.values_pk[p, k]
        return full

    return make
