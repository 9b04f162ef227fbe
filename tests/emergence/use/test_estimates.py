"""Estimates of use: planted rises come back, equal rises are no use, and intervals cover."""

import numpy as np
import polars as pl
import pytest

from emergence_assets.emergence.use.estimates import Measured, feature_use, wrong_differences
from emergence_assets.emergence.use.losses import Losses
from emergence_assets.emergence.use.spec import FEATURE_USE as SPEC
from emergence_assets.features.statistics.formulas import bootstrap_weights

KEYS = {"model": "m", "n_params_nonemb": 9, "step": 8, "tokens_seen": 80, "n_layers": 2, "layer": 1}
KEYS |= {"data_version": "v"}
N, N_BOOT = 400, 200
ROLES = ["latent", "control", "control", "latent", "control", "control", "random", "random"]
SEEDS = [0, 0, 0, 1, 1, 1, 0, 1]


def measured(category: str, own: list[float], other: list[float], *, seed: int = 0, noise: float = 0.05) -> Measured:
    """Plant rises per token by removal, on own texts and on others."""
    draw = np.random.default_rng(seed)
    tokens_p = draw.integers(5, 30, N)
    is_own_p = np.arange(N) < N // 2
    clean_p = 4.0 * tokens_p
    rise_rp = np.where(is_own_p, np.array(own)[:, None], np.array(other)[:, None])
    rise_rp = rise_rp + noise * draw.standard_normal((len(own), N))
    active_rp = draw.integers(0, 4, (len(own), N))
    losses = Losses(clean_p, clean_p + rise_rp * tokens_p, tokens_p, active_rp)
    weights_pb = bootstrap_weights(N, N_BOOT, seed)
    return Measured(category, losses, is_own_p, weights_pb, np.array(ROLES[: len(own)]), np.array(SEEDS[: len(own)]))


def test_planted_rises_come_back() -> None:
    own = [0.10, 0.03, 0.01, 0.14, 0.02, 0.02, 0.05, 0.03]
    table = feature_use(KEYS, "subject", [measured("fish", own, [0.01] * 8, noise=1e-4)])
    fish, mean = (table.filter(aggregate=one).row(0, named=True) for one in ("none", "mean"))
    assert fish["rise_own"] == pytest.approx(0.12, abs=1e-3)
    assert fish["rise_other"] == pytest.approx(0.01, abs=1e-3)
    assert fish["use"] == pytest.approx(0.11, abs=1e-3)
    assert fish["use_control"] == pytest.approx(0.01, abs=1e-3)
    assert fish["use_random"] == pytest.approx(0.03, abs=1e-3)
    assert fish["above_control"] == pytest.approx(0.10, abs=1e-3)
    assert fish["above_random"] == pytest.approx(0.08, abs=1e-3)
    assert fish["loss"] == pytest.approx(4)
    assert (fish["n_seeds"], fish["n_seeds_agree"], fish["n_texts"], fish["n_other_texts"]) == (2, 2, 200, 200)
    assert fish["q"] < 0.01
    assert mean["use"] == fish["use"]
    assert mean["category"] is None
    # Two seeds differ by .04: their deviation is a part of the interval.
    assert fish["use_hi"] - fish["use_lo"] > 0.03
    one_seed = feature_use(KEYS, "subject", [measured("fish", [own[0], *own[1:3], -own[3], *own[4:]], [0.01] * 8)])
    assert one_seed["n_seeds_agree"].to_list() == [1, 1]


def test_a_latent_that_raises_the_loss_everywhere_is_not_used_by_the_category() -> None:
    table = feature_use(KEYS, "subject", [measured("fish", [0.2] * 8, [0.2] * 8)])
    assert (table["use_lo"] < 0).all()
    assert (table["q"] > 0.05).all()


@pytest.mark.parametrize("rival", [[1, 2, 4, 5], [6, 7]], ids=["equally strong latents", "random encoders"])
def test_what_a_rival_does_as_well_is_no_merit_of_the_latent(rival: list[int]) -> None:
    own = np.where(np.isin(np.arange(8), [0, 3, *rival]), 0.1, 0.0).tolist()
    row = feature_use(KEYS, "subject", [measured("fish", own, [0.0] * 8)]).row(0, named=True)
    assert row["use_lo"] > 0.05
    name = "above_control" if 1 in rival else "above_random"
    assert row[f"{name}_lo"] < 0 < row[f"{name}_hi"]
    assert row["q"] > 0.05


def test_one_random_encoder_stands_beside_all_seeds() -> None:
    one = measured("fish", [0.1, 0, 0, 0.1, 0, 0, 0.03], [0.0] * 7, noise=1e-4)
    row = feature_use(KEYS, "subject", [one]).row(0, named=True)
    assert row["use_random"] == pytest.approx(0.03, abs=1e-3)
    assert row["above_random_lo"] > 0.05


def test_intervals_cover_and_unused_latents_are_seldom_called_used() -> None:
    each = [measured(f"c{seed}", [0.01] * 8, [0.01] * 8, seed=seed, noise=0.3) for seed in range(200)]
    table = feature_use(KEYS, "subject", each).filter(aggregate="none")
    covered = table.filter((pl.col("use_lo") <= 0) & (pl.col("use_hi") >= 0)).height / table.height
    assert 0.9 <= covered <= 0.995
    assert table.filter(pl.col("q") < 0.05).is_empty()


def test_without_controls_or_random_latents_their_columns_are_missing() -> None:
    table = feature_use(KEYS, "subject", [measured("fish", [0.1], [0.0])])
    assert table["use"].is_not_null().all()
    for name in ("use_control", "above_control", "use_random", "above_random", "active_control", "p_value"):
        assert table[name].is_null().all(), name
    assert (table["n_seeds_agree"] == 0).all()


@pytest.mark.parametrize("name", ["use", "above_control", "above_random", "rise_own", "use_random"])
def test_a_difference_that_is_none_is_counted(name: str) -> None:
    table = feature_use(KEYS, "subject", [measured(one, [0.1] * 8, [0.0] * 8) for one in ("fish", "fowl")])
    assert wrong_differences(table) == 0
    is_first = pl.col("category").eq_missing("fish")
    damaged = table.with_columns(pl.when(is_first).then(pl.col(name) + 0.01).otherwise(pl.col(name)).alias(name))
    assert wrong_differences(damaged) == 1
    assert [check.name for check in SPEC.checks] == [
        "keys_are_unique",
        "values_are_as_declared",
        "differences_are_differences",
    ]
