"""Net presence: what random encoders have is subtracted, at the step and at step 0."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from emergence_assets.emergence.presence.net import net_presence
from emergence_assets.emergence.presence.replicates import replicate_array

Presence = Callable[..., pl.DataFrame]


def late(_model: str, step: int, _layer: int, c: int) -> float:
    return 0.5 if step >= 64 and c < 3 else 0.0


def half_of_it(model: str, step: int, layer: int, c: int) -> float:
    return late(model, step, layer, c) / 2


def measured(presence: pl.DataFrame, category: str, step: int) -> dict[str, float]:
    return presence.filter(control_id="none", category=category, step=step).row(0, named=True)


def test_a_rise_that_random_directions_share_is_no_net_rise(planted_presence: Presence) -> None:
    presence = planted_presence(late, steps=(0, 64), sae_seeds=(0, 1), in_random=late)
    row = measured(presence, "c0", 64)
    assert row["gain_lo"] > 0.15
    assert row["net_gain_lo"] < 0 < row["net_gain_hi"]
    assert abs(row["net_gain"]) < 0.06


def test_the_part_beyond_random_directions_is_net(planted_presence: Presence) -> None:
    presence = planted_presence(late, steps=(0, 64), sae_seeds=(0, 1), in_random=half_of_it)
    row, start = measured(presence, "c0", 64), measured(presence, "c0", 0)
    random = presence.filter(control_id="random_encoder", category="c0")
    assert row["p_random"] == pytest.approx(random.filter(step=64)["p_best"].item())
    assert row["net"] == pytest.approx(row["p_best"] - row["p_random"], abs=1e-6)
    assert row["net_gain"] == pytest.approx(row["net"] - start["net"], abs=1e-6)
    # tpr - fpr is .5 in the dictionary and .25 in random encoders: AUROC .75 and .625
    assert row["net_gain"] == pytest.approx(0.125, abs=0.05)
    assert 0 < row["net_gain_lo"] < row["net_gain"] < row["net_gain_hi"]
    assert random["net"].null_count() == random["replicates_dense"].null_count() == len(random)


def test_a_random_encoder_that_is_better_gives_a_negative_net_presence(planted_presence: Presence) -> None:
    row = measured(planted_presence(half_of_it, steps=(0, 64), in_random=late), "c0", 64)
    assert row["net_gain_hi"] < 0


def test_the_series_has_replicates_and_seeds_of_the_difference(planted_presence: Presence) -> None:
    presence = planted_presence(late, steps=(0, 64), sae_seeds=(0, 1), in_random=half_of_it)
    series = net_presence(presence)
    assert series.height == presence.filter(control_id="none").height
    row = series.filter(category="c1", step=64)
    found = measured(presence, "c1", 64)
    assert row["p_best"].item() == pytest.approx(found["net"])
    np.testing.assert_allclose(
        np.quantile(replicate_array(row), (0.025, 0.975)), (found["net_lo"], found["net_hi"]), atol=1e-6
    )
    assert row["p_seeds"].item().mean() == pytest.approx(found["net"], abs=1e-6)
    assert len(row["p_seeds"].item()) == 2


def test_without_random_encoders_there_is_no_net_presence(planted_presence: Presence) -> None:
    presence = planted_presence(late, steps=(0, 64)).filter(pl.col("control_id") != "random_encoder")
    assert net_presence(presence).is_empty()
