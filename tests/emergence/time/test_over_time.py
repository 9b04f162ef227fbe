"""Time: a planted onset is bracketed, noise has no onset, and censoring is recorded."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from emergence_assets.emergence.time.over_time import emergence_over_time
from emergence_assets.emergence.time.table import EMERGENCE_OVER_TIME

STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000)


def planted(model: str, step: int, layer: int, c: int) -> float:
    """c0: from step 256 on. c1: always. c2: from the last step on. c3: at 64 only. c4: never."""
    return (
        0.4 * (c == 0 and step >= 256)
        + 0.4 * (c == 1)
        + 0.4 * (c == 2 and step >= 2000)
        + 0.4 * (c == 3 and step == 64)
    )


@pytest.fixture(scope="module")
def over_time(planted_presence: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    return emergence_over_time(planted_presence(planted, steps=STEPS))


def row(table: pl.DataFrame, category: str, control_id: str = "none", metric: str = "p_best") -> dict[str, Any]:
    rows = table.filter(layer_choice="best", control_id=control_id, category=category, metric=metric)
    return rows.row(0, named=True)


def test_a_planted_onset_is_bracketed_by_its_checkpoints(over_time: pl.DataFrame) -> None:
    assert over_time.schema == EMERGENCE_OVER_TIME.schema
    found = row(over_time, "c0")
    assert (found["best_model"], found["grid_lo_step"], found["grid_hi_step"]) == ("sigmoid", 128, 256)
    assert found["changepoint_step"] == 256
    assert (found["passes_gate"], found["is_dated"]) == (True, True)
    assert found["d_aicc"] > 10
    assert found["q_emerged"] < 1e-3
    assert 128 < found["half_step"] < 256
    assert 128 < found["half_step_interp"] < 256
    assert found["half_tokens"] == round(found["half_step"] * 512)
    assert found["half_flops"] == pytest.approx(6 * 200_000 * found["half_tokens"], rel=1e-4)
    assert found["half_step_lo"] <= 128
    assert found["half_step_hi"] >= 256
    assert found["amp_lo"] < found["amp"] < found["amp_hi"]
    assert found["amp"] == pytest.approx(found["p_end"] - found["base"], abs=1e-6)
    assert found["rise_rate_lo"] > 0
    assert found["rise_rate"] > 0.2 / np.log10(257 / 129) / 2
    assert found["fit_amp"] == pytest.approx(0.2, abs=0.05)
    assert found["late_gain_lo"] < found["late_gain"] < found["late_gain_hi"]
    assert (found["n_seeds"], found["n_seeds_agree"], found["seed_sd_dex"]) == (1, 1, None)
    assert found["stabil_step"] == 256
    assert found["p_bow"] == pytest.approx(0.8)
    assert abs(found["p_shuffle"] - 0.5) < 0.1


def test_a_category_present_at_the_start_is_left_censored(over_time: pl.DataFrame) -> None:
    found = row(over_time, "c1")
    assert found["passes_gate"] is False
    assert found["censor"] == "left"


def test_a_rise_at_the_last_checkpoint_is_right_censored(over_time: pl.DataFrame) -> None:
    found = row(over_time, "c2")
    assert found["censor"] == "right"
    assert found["is_dated"] is False  # no later checkpoint has confirmed it
    assert found["stabil_step"] is None


def test_a_rise_that_does_not_last_has_not_emerged(over_time: pl.DataFrame) -> None:
    for category in ("c3", "c4"):
        found = row(over_time, category)
        assert (found["half_step"], found["onset_step"], found["best_model"]) == (None, None, "constant")
        assert found["passes_gate"] is False
        assert found["censor"] == "right"


def test_net_presence_has_series_of_its_own(over_time: pl.DataFrame) -> None:
    """Random encoders are at chance here, so that net presence rises like presence, from 0."""
    presence, net = row(over_time, "c0"), row(over_time, "c0", metric="net")
    assert net["passes_gate"] is True
    assert (net["grid_lo_step"], net["grid_hi_step"]) == (128, 256)
    assert net["amp"] == pytest.approx(presence["amp"], abs=0.04)
    assert abs(net["base"]) < 0.04
    assert row(over_time, "c1", metric="net")["censor"] == "left"
    assert row(over_time, "c4", metric="net")["censor"] == "right"
    assert set(over_time.filter(metric="net")["control_id"]) == {"none"}


def test_what_random_directions_show_as_well_is_a_rise_of_presence_alone(
    planted_presence: Callable[..., pl.DataFrame],
) -> None:
    table = emergence_over_time(planted_presence(planted, steps=STEPS, in_random=planted))
    assert row(table, "c0")["passes_gate"] is True
    assert row(table, "c0", "random_encoder")["passes_gate"] is True
    net = row(table, "c0", metric="net")
    assert net["passes_gate"] is False
    assert net["late_gain_lo"] < 0 < net["late_gain_hi"]


def test_shuffled_labels_never_emerge(over_time: pl.DataFrame) -> None:
    shuffled = over_time.filter(control_id="label_shuffle")
    assert shuffled.height > 0
    assert not shuffled["passes_gate"].any()


def test_the_mean_over_categories_has_a_row_of_its_own(over_time: pl.DataFrame) -> None:
    best = over_time.filter(layer_choice="best", control_id="none", metric="p_best")
    mean, single = best.filter(aggregate="mean").row(0, named=True), best.filter(aggregate="none")
    assert mean["category"] is None
    assert mean["p_end"] == pytest.approx(single["p_end"].to_numpy().mean(), abs=1e-6)
    assert mean["p_end_hi"] - mean["p_end_lo"] < (single["p_end_hi"] - single["p_end_lo"]).to_numpy().mean()


def test_noise_has_no_onset(planted_presence: Callable[..., pl.DataFrame]) -> None:
    table = emergence_over_time(planted_presence(lambda *_: 0.0, steps=STEPS, n_layers=2))
    assert not table["passes_gate"].any()


def test_the_best_layer_is_the_one_with_the_concept(planted_presence: Callable[..., pl.DataFrame]) -> None:
    table = emergence_over_time(
        planted_presence(lambda m, step, layer, c: 0.4 * (layer == 1 and step > 20), steps=STEPS, n_layers=2)
    )
    assert table.filter(layer_choice="best")["layer"].unique().to_list() == [1]
    assert table.filter(layer_choice="each", control_id="none", passes_gate=True)["layer"].unique().to_list() == [1]


def test_one_checkpoint_claims_nothing(planted_presence: Callable[..., pl.DataFrame]) -> None:
    table = emergence_over_time(planted_presence(planted, steps=(0,)))
    assert not table["passes_gate"].any()
    assert table["amp"].is_null().all()
    assert table["p_value"].is_null().all()


def test_without_step0_nothing_is_compared(planted_presence: Callable[..., pl.DataFrame]) -> None:
    table = emergence_over_time(planted_presence(planted, steps=(64, 2000)))
    for name in (
        "passes_gate",
        "base",
        "amp",
        "best_model",
        "half_step",
        "censor",
        "p_value",
        "q_emerged",
        "late_gain",
    ):
        assert table[name].is_null().all(), name
    assert table["p_end"].is_not_null().all()


def test_with_few_checkpoints_nothing_is_dated(planted_presence: Callable[..., pl.DataFrame]) -> None:
    table = emergence_over_time(planted_presence(planted, steps=(0, 64, 256, 512, 1000, 2000)))
    assert table["d_aicc"].is_null().all()
    assert row(table, "c0")["passes_gate"] is True
    assert not table["is_dated"].any()
    assert table["late_gain"].is_not_null().all()


def test_seeds_are_read_one_by_one(planted_presence: Callable[..., pl.DataFrame]) -> None:
    table = emergence_over_time(planted_presence(planted, steps=STEPS, sae_seeds=(0, 1)))
    found = row(table, "c0")
    assert (found["n_seeds"], found["n_seeds_agree"], found["passes_gate"]) == (2, 2, True)
    assert 0 <= found["seed_sd_dex"] < 0.3
    assert row(table, "c4")["seed_sd_dex"] is None


def test_series_with_other_checkpoints_are_read_by_their_own(planted_presence: Callable[..., pl.DataFrame]) -> None:
    presence = planted_presence(planted, steps=STEPS, n_layers=2)
    half_done = presence.filter((pl.col("layer") == 0) | (pl.col("step") != 2000))
    table = emergence_over_time(half_done).filter(layer_choice="each")
    alone = emergence_over_time(presence.filter(pl.col("layer") == 0)).filter(layer_choice="each")
    assert table.select("layer", "n_steps").unique().sort("layer").rows() == [(0, 13), (1, 12)]
    fitted = [name for name in table.columns if name.startswith(("half", "fit", "onset", "d_aicc"))]
    for name in fitted:
        ours, theirs = (one.filter(layer=0)[name].cast(pl.Float64).to_numpy() for one in (table, alone))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_an_empty_table_stays_empty(planted_presence: Callable[..., pl.DataFrame]) -> None:
    table = emergence_over_time(planted_presence(planted, steps=(0,)).clear())
    assert table.schema == EMERGENCE_OVER_TIME.schema
    assert table.is_empty()
