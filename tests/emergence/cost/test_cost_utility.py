"""Cost against utility: a planted rise over training gives its utility, its cost, and the stop signal."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from emergence_assets.emergence.cost.convergence import convergence
from emergence_assets.emergence.cost.cost_utility import cost_utility, is_efficient
from emergence_assets.emergence.cost.stopping import has_risen, is_flat, trend
from emergence_assets.emergence.cost.table import COST_UTILITY
from emergence_assets.emergence.cost.utility import utility_series
from resources.errors import EmergenceError

STEPS = (0, 1, 10, 100, 1000, 10_000, 100_000)
SIZES = {"small": 10**5, "large": 10**6}
Planted = Callable[..., pl.DataFrame]


def planted(model: str, step: int, layer: int, c: int) -> float:
    """All categories but the last rise between steps 10 and 1000, in the second layer; the larger model rises more."""
    height = 0.5 if model == "small" else 0.7
    return height * (layer == 1) * (c < 4) * (step > 10) * (1 if step >= 1000 else 0.5)


@pytest.fixture(scope="module")
def presence(planted_presence: Planted) -> pl.DataFrame:
    return planted_presence(planted, sizes=SIZES, steps=STEPS, n_layers=2)


@pytest.fixture(scope="module")
def costs(presence: pl.DataFrame) -> pl.DataFrame:
    losses = pl.DataFrame(
        {"model": ["small"], "step": [100], "loss": [3.5]}, schema_overrides={"step": pl.Int32, "loss": pl.Float32}
    )
    return cost_utility(presence, losses)


def of(costs: pl.DataFrame, model: str, control: str = "none") -> pl.DataFrame:
    return costs.filter(model=model, control_id=control).sort("step")


def test_compute_is_six_per_parameter_and_token(costs: pl.DataFrame) -> None:
    assert costs.schema == COST_UTILITY.schema
    one = of(costs, "large").filter(step=100).row(0, named=True)
    assert one["train_flops"] == 6 * 10**6 * 100 * 512
    assert of(costs, "small")["loss"].to_list() == [None, None, None, 3.5, None, None, None]


def test_utility_is_zero_before_training_and_as_planted_after(costs: pl.DataFrame) -> None:
    small, large = of(costs, "small"), of(costs, "large")
    assert small["u_excess"][0] == 0
    assert small["layer"].to_list()[3:] == [1] * 4
    # On 4 of 5 categories the rate rises by 0.5, so the AUROC rises by 0.25 of the possible 0.46.
    assert small["u_excess"][-1] == pytest.approx(0.8 * 0.25 / 0.46, abs=0.08)
    assert (large["u_excess"].to_numpy()[3:] > small["u_excess"].to_numpy()[3:]).all()
    assert small["u_final_present"].to_list()[:3] == [0, 0, 0]
    assert small["u_final_present"].to_list()[4:] == [1, 1, 1]
    assert small["n_final_present"].unique().to_list() == [4]
    shuffled = of(costs, "small", "label_shuffle")
    assert shuffled["u_excess"].abs().max() < 0.05
    assert shuffled["n_final_present"].unique().to_list() == [0]
    assert shuffled["u_final_present"].is_null().all()


def test_ninety_per_cent_is_reached_between_the_checkpoints_that_show_it(costs: pl.DataFrame) -> None:
    for model, n in SIZES.items():
        one = of(costs, model).row(-1, named=True)
        price = 6 * n * 512
        assert price * 100 <= one["flops_to_90"] <= price * 1000
        assert one["flops_to_90_lo"] <= price * 100 * (1 + 1e-9)
        assert one["flops_to_90_hi"] >= price * 1000 * (1 - 1e-9)
    assert of(costs, "small", "label_shuffle")["flops_to_90"].is_null().all()


def test_marginal_utility_is_where_utility_rises(costs: pl.DataFrame) -> None:
    rows = of(costs, "small")
    assert rows["marginal_u_dec"].to_list()[:2] == [None, None]
    rising, flat = rows["marginal_u_dec_lo"].to_list()[3:5], rows["marginal_u_dec"].to_list()[5:]
    assert min(rising) > 0.1
    assert max(abs(value) for value in flat) < 0.03


def test_the_signal_comes_after_the_rise_and_costs_little(costs: pl.DataFrame) -> None:
    for model in SIZES:
        rows = of(costs, model)
        signals = rows.filter("stop_signal")
        assert signals["step"].to_list() == [100_000]  # three checkpoints after the rise
        assert rows.filter(~pl.col("stop_signal"))["regret_after_stop"].is_null().all()
        assert signals["regret_after_stop"].to_list() == [0]
    # The flat stretch before the rise is no end, and a category that never rises has no end.
    assert not of(costs, "small", "label_shuffle")["stop_signal"].any()


def test_efficient_points_have_most_for_their_price() -> None:
    assert is_efficient([0, 1, 2, 3, 3, 4], [0, 0.2, 0.1, 0.3, 0.4, 0.4]) == [False, True, False, False, True, False]
    assert is_efficient([1, 2], [None, 0.1]) == [False, True]


def test_models_without_step_0_have_no_utility(planted_presence: Planted) -> None:
    bare = planted_presence(planted, sizes={"small": 10**5}, steps=(10, 1000), n_layers=2)
    table = cost_utility(bare, pl.DataFrame(schema={"model": pl.String, "step": pl.Int32, "loss": pl.Float32}))
    assert table["u_excess"].is_null().all()
    assert not table["pareto"].any()
    assert convergence(bare)[0].verdict == "no step 0"
    assert list(utility_series(bare.clear())) == []


def test_one_checkpoint_is_a_row(planted_presence: Planted) -> None:
    start = planted_presence(planted, sizes={"small": 10**5}, steps=(0,), n_layers=2)
    table = cost_utility(start, pl.DataFrame(schema={"model": pl.String, "step": pl.Int32, "loss": pl.Float32}))
    assert table.filter(control_id="none").height == 1
    assert convergence(start)[0].verdict == "too few checkpoints"


def test_checkpoints_with_other_categories_are_refused(presence: pl.DataFrame) -> None:
    torn = presence.filter(~((pl.col("step") == 100) & (pl.col("category") == "c1")))
    with pytest.raises(EmergenceError, match="different categories"):
        list(utility_series(torn))


def test_a_prefix_gives_the_result_of_its_time(presence: pl.DataFrame) -> None:
    whole = next(series for series in utility_series(presence) if series.control_id == "none")
    cut = next(
        series for series in utility_series(presence.filter(pl.col("step") <= 100)) if series.control_id == "none"
    )
    assert (whole.model, whole.step_s[:4].tolist()) == (cut.model, cut.step_s.tolist())
    np.testing.assert_array_equal(whole.excess_s[:4], cut.excess_s)
    np.testing.assert_array_equal(whole.is_present_sc[:4], cut.is_present_sc)


def test_a_trend_is_the_slope_of_the_last_three_per_decade() -> None:
    rng = np.random.default_rng(0)
    steps = np.array([0, 1, 10, 100, 1000])
    utility = np.array([0, 0.9, 0.1, 0.2, 0.3])
    found = trend(steps, utility, utility[:, None] + rng.normal(0, 0.001, (5, 100)))
    assert found.slope == pytest.approx(0.1)
    assert found.lo < 0.1 < found.hi
    assert found.decades == pytest.approx(2)
    assert not is_flat(found)
    assert not is_flat(trend(steps[:3], utility[:3], utility[:3, None] + np.zeros((3, 10))))
    assert has_risen(0.3, 0.3 + rng.normal(0, 0.01, 100))
    assert not has_risen(0.04, np.full(100, 0.04))
    assert not has_risen(0.3, 0.3 + rng.normal(0, 1, 100))


def test_the_monitor_says_what_more_it_takes(presence: pl.DataFrame) -> None:
    def at(step: int) -> tuple[str, int | None]:
        found = convergence(presence.filter(pl.col("step") <= step, pl.col("model") == "small"))
        assert [one.category_level for one in found] == ["subject"]
        return found[0].verdict, found[0].next_step

    assert at(1)[0] == "too few checkpoints"
    assert at(100) == ("rising", 200)
    assert at(1000)[0] == "rising"
    assert at(100_000) == ("stop", None)
    assert convergence(presence.filter(pl.col("step") <= 100))[0].share_of_last_present == 0
