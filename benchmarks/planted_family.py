"""A family of dictionaries with known latents: the feature of each, at every step, layer and SAE seed."""

from collections.abc import Callable, Collection

import numpy as np

from emergence_assets.emergence.lineage.correlation import Activity, latent_activity
from emergence_assets.emergence.lineage.matching import LatentSet
from emergence_assets.emergence.lineage.read_latents import ReadSAE, SAEKey
from emergence_assets.features.statistics.codes import Codes

N_TEXTS, D, N_FEATURES = 3000, 32, 60

Features = Callable[[SAEKey], Collection[int]]
"""Features that an SAE has found."""


class PlantedFamily:
    """Features, each with a direction and texts; an SAE has latents for the features it found, in a random order."""

    def __init__(self, found: Features, noise: float = 0.3, seed: int = 0):
        self._found, self._noise, self._seed = found, noise, seed
        self._known: dict[SAEKey, ReadSAE] = {}
        draw = np.random.default_rng(seed)
        self._direction = draw.standard_normal((N_FEATURES, D)).astype(np.float32)
        self._fires = draw.random((N_TEXTS, N_FEATURES)) < 0.05
        self._select = draw.random(N_TEXTS) < 0.5

    def feature_of(self, key: SAEKey) -> np.ndarray:
        """Return the feature of every latent of an SAE; numbers from N_FEATURES on are latents without a feature."""
        draw = np.random.default_rng([self._seed, *key])
        found = np.array(sorted(self._found(key)), dtype=int)
        strangers = N_FEATURES + np.arange(N_FEATURES - len(found))
        return draw.permutation(np.concatenate([found, strangers]))

    def read(self, key: SAEKey) -> ReadSAE:
        """Make the SAE, with noise in directions and activations."""
        if key not in self._known:
            self._known[key] = self._make(key)
        return self._known[key]

    def _make(self, key: SAEKey) -> ReadSAE:
        draw = np.random.default_rng([self._seed + 1, *key])
        feature = self.feature_of(key)
        is_own = feature < N_FEATURES
        own = np.where(is_own, feature, 0)
        direction = np.where(is_own[:, None], self._direction[own], draw.standard_normal((N_FEATURES, D)))
        direction = _unit(direction + self._noise * draw.standard_normal(direction.shape))
        fires = np.where(is_own, self._fires[:, own], draw.random((N_TEXTS, N_FEATURES)) < 0.05)
        fires ^= draw.random(fires.shape) < 0.005
        select, score = np.flatnonzero(self._select), np.flatnonzero(~self._select)
        activity = latent_activity(_codes(fires, draw), select)
        category = np.full(N_FEATURES, None, dtype=object)
        category[is_own & (feature < 30)] = [f"c{one % 7}" for one in feature[is_own & (feature < 30)]]
        everything = latent_activity(_codes(fires, draw), score, min_support=0)
        nobody = draw.random(fires.shape) < 0.05
        untrained = latent_activity(_codes(nobody, draw), select)
        return ReadSAE(
            key,
            LatentSet(activity, direction[activity.latent_n]),
            Activity(activity.latent_n, everything.values_pn[:, activity.latent_n]),
            LatentSet(untrained, _unit(draw.standard_normal((len(untrained.latent_n), D)))),
            category[activity.latent_n],
        )


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _codes(fires: np.ndarray, draw: np.random.Generator) -> Codes:
    values = np.where(fires, 0.5 + draw.random(fires.shape), 0).astype(np.float32)
    indices = np.broadcast_to(np.arange(fires.shape[1], dtype=np.int32), values.shape)
    return Codes(values, indices, fires.shape[1])
