"""Training runs of one model, and their spread at a point on the size axis."""

import itertools
from collections.abc import Callable

import polars as pl
import pytest

from emergence_assets.emergence.scale.model_seeds import model_seeds, run_spread
from emergence_assets.emergence.scale.over_scale import FIXED_WIDTH, SizeReading, emergence_over_scale
from emergence_assets.emergence.scale.table import MODEL_SEEDS
from emergence_assets.emergence.time.over_time import emergence_over_time

RUNS = {"m": 10**5, "m-seed1": 10**5, "m-seed2": 10**5, "other": 10**6}
REPLICATES = {"m-seed1": "m", "m-seed2": "m"}
Planted = Callable[..., pl.DataFrame]


def planted(model: str, step: int, layer: int, c: int) -> float:
    """c0 is equal in every run, c1 grows by 0.2 from run to run, c2 falls in one run, c3 and c4 are absent."""
    run = list(RUNS).index(model)
    if c == 2:
        return 0.3 * ((step == 0) if run == 2 else (step > 4))
    return (step > 4) * (0.5 * (c == 0) + 0.2 * run * (c == 1))


@pytest.fixture(scope="module")
def presence(planted_presence: Planted) -> pl.DataFrame:
    return planted_presence(planted, sizes=RUNS, steps=(0, 1, 4, 16, 64, 256, 1024))


@pytest.fixture(scope="module")
def table(presence: pl.DataFrame) -> pl.DataFrame:
    return model_seeds(presence, emergence_over_time(presence), REPLICATES)


def test_runs_stand_beside_each_other_with_their_spread(table: pl.DataFrame) -> None:
    assert table.schema == MODEL_SEEDS.schema
    assert table["model"].unique().to_list() == ["m"]
    real = {row["category"]: row for row in table.filter(control_id="none").to_dicts()}
    assert [run["model"] for run in real["c0"]["runs"]] == ["m", "m-seed1", "m-seed2"]
    assert real["c0"]["n_runs"] == 3
    gains = [run["gain"] for run in real["c1"]["runs"]]
    # A rate that is higher by 0.2 on the category gives an AUROC that is higher by 0.1.
    assert [b - a for a, b in itertools.pairwise(gains)] == pytest.approx([0.1, 0.1], abs=0.06)
    assert real["c1"]["gain_sd"] == pytest.approx(pl.Series(gains).std(), abs=1e-6)
    assert real["c1"]["gain_sd"] > 2 * real["c0"]["gain_sd"]
    assert real["c0"]["signs_agree"]
    assert real["c0"]["n_confirmed"] == 3
    assert not real["c2"]["signs_agree"]
    assert 0 < real["c0"]["gain_text_sd"] < 0.1
    assert real["c0"]["half_step_sd_dex"] < 0.5
    assert real[None]["aggregate"] == "mean"


def test_without_step_0_there_is_no_gain(presence: pl.DataFrame) -> None:
    late = presence.filter(pl.col("step") > 0)
    found = model_seeds(late, emergence_over_time(late), REPLICATES)
    assert found["gain_mean"].is_null().all()
    assert found["signs_agree"].is_null().all()
    assert found["p_sd"].is_not_null().all()


def test_a_family_without_replicates_has_no_rows(presence: pl.DataFrame) -> None:
    assert model_seeds(presence, emergence_over_time(presence), {}).is_empty()


def test_the_spread_of_runs_goes_into_the_size_axis(table: pl.DataFrame, presence: pl.DataFrame) -> None:
    spread = run_spread(table)
    assert set(spread) == {("subject", "none"), ("subject", "mean")}
    assert spread["subject", "none"] > spread["subject", "mean"] > 0
    sizes = presence.filter(pl.col("model").is_in(["m", "other"]))
    scale = emergence_over_scale({FIXED_WIDTH: SizeReading(sizes)}, spread)
    used = scale.filter(aggregate="mean")["run_sd"].unique().to_list()
    assert used == pytest.approx([spread["subject", "mean"]], rel=1e-5)
