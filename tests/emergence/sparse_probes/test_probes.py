"""k-sparse probes: one latent is presence, several add up, and weights are those of scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from emergence_assets.emergence.sparse_probes.probes import sparse_probe_auroc
from emergence_assets.features.statistics.cell_tables import CellRecipe, dense_scores
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels
from emergence_assets.features.statistics.presence_cell import presence_cell

N, N_LATENTS = 4000, 12


@pytest.fixture(scope="module")
def planted() -> tuple[Codes, Labels, np.ndarray]:
    """Latents 0 and 1 are each active on one half of the fish, and rarely elsewhere; the others are noise."""
    rng = np.random.default_rng(0)
    labels = Labels("subject", ("fish", "fowl"), rng.integers(0, 2, N).astype(np.int16), rng.random(N) < 0.5)
    rate = np.full((N, N_LATENTS), 0.1)
    half = rng.random(N) < 0.5
    is_fish = labels.codes_p == 0
    rate[is_fish & half, 0] = rate[is_fish & ~half, 1] = 0.9
    active = rng.random(rate.shape) < rate
    active[:, N_LATENTS - 1] = False
    values = np.where(active, rng.random(rate.shape) + 0.5, 0).astype(np.float32)
    indices = np.broadcast_to(np.arange(N_LATENTS, dtype=np.int32), values.shape)
    return Codes(values, indices, N_LATENTS), labels, values


def test_one_latent_is_presence_and_two_are_more(planted: tuple[Codes, Labels, np.ndarray]) -> None:
    codes, labels, _ = planted
    found = sparse_probe_auroc(codes, labels, np.array([0, 1]), (1, 2, 4), 0.01)
    recipe = CellRecipe(n_boot=10, n_shuffles=2)
    dense = dense_scores(np.random.default_rng(1).normal(size=(N, 2)), [labels], recipe)
    presence = presence_cell(codes, dense, [labels], recipe).filter(control_id="none", category="fish")
    assert found[0, 0] == pytest.approx(presence["p_best"].item(), abs=1e-6)
    assert found[0, 1] > found[0, 0] + 0.1
    assert found[0, 2] == pytest.approx(found[0, 1], abs=0.02)


def test_weights_are_those_of_scikit_learn(planted: tuple[Codes, Labels, np.ndarray]) -> None:
    codes, labels, values = planted
    select, score = (labels.rows(select=side) for side in (True, False))
    is_fish = labels.codes_p == 0
    live = np.flatnonzero(values[select].any(axis=0))
    scaled = (values - values[select].mean(axis=0)) / np.maximum(values[select].std(axis=0), 1e-9)
    ridge = Ridge(alpha=0.01 * len(select), fit_intercept=True).fit(scaled[select][:, live], is_fish[select])
    by_hand = roc_auc_score(is_fish[score], ridge.predict(scaled[score][:, live]))
    # More than the dictionary has: all live latents are read.
    found = sparse_probe_auroc(codes, labels, np.array([0]), (N_LATENTS + 5,), 0.01)
    assert found[0, 0] == pytest.approx(by_hand, abs=1e-6)


def test_permuted_labels_are_at_chance_and_a_dead_dictionary_too(planted: tuple[Codes, Labels, np.ndarray]) -> None:
    codes, labels, _ = planted
    permuted = np.random.default_rng(2).permutation(labels.codes_p)
    other = Labels(labels.level, labels.categories, permuted, labels.is_select_p)
    assert np.abs(sparse_probe_auroc(codes, other, np.array([0, 1]), (1, 4), 0.01) - 0.5).max() < 0.05
    dead = Codes(np.zeros((N, 1), np.float32), np.zeros((N, 1), np.int32), N_LATENTS)
    assert (sparse_probe_auroc(dead, labels, np.array([0, 1]), (1, 4), 0.01) == 0.5).all()
