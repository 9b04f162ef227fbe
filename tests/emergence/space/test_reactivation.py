"""Reactivation: a planted dip is found and classified, and no other profile meets the criteria."""

import numpy as np
import polars as pl
import pytest

from benchmarks.planted_profiles import Noise, planted_presence
from benchmarks.reactivation_rules import SHAPES, dip, measure_reactivation_rules
from emergence_assets.emergence.space.profiles import depth_profiles
from emergence_assets.emergence.space.reactivation import CRITERIA, reactivation
from emergence_assets.emergence.space.spec import REACTIVATION as SPEC
from emergence_assets.emergence.space.table import REACTIVATION
from resources.errors import EmergenceError
from resources.tables.relation import with_relations

DEPTH = (np.arange(12) + 0.5) / 12
VALLEY, FLAT = 0.55 + SHAPES["valley of .3"](DEPTH), np.full(12, 0.85)


def presence_of(trained: list[np.ndarray], dense: list[np.ndarray], n_layers: int = 0, **noise: float) -> pl.DataFrame:
    """Make three categories with these true profiles."""
    n_layers = n_layers or len(trained[0])
    declared = Noise(**({"texts": 0.01, "saes": 0.01} | noise))  # pyright: ignore[reportArgumentType]
    rng = np.random.default_rng(0)
    return planted_presence(np.array(trained), np.full((3, n_layers), 0.55), np.array(dense), declared, rng)


def verdicts(table: pl.DataFrame, step: int = 1000) -> list[str]:
    return table.filter(step=step, aggregate="none").sort("category")["verdict"].to_list()


@pytest.fixture(scope="module")
def planted() -> pl.DataFrame:
    """c000 fades and returns in model and SAE, c001 in the SAE alone, c002 does not."""
    return reactivation(presence_of([VALLEY, VALLEY, FLAT], [VALLEY, FLAT, FLAT]))


def test_a_dip_is_found_and_the_dense_probe_classifies_it(planted: pl.DataFrame) -> None:
    assert planted.schema == REACTIVATION.schema
    assert verdicts(planted) == ["representational", "allocation", "none"]
    row = planted.filter(step=1000, category="c000").row(0, named=True)
    assert row["early"] == pytest.approx(0.3, abs=0.03)
    assert row["mid"] == pytest.approx(0, abs=0.03)
    assert row["drop_lo"] < row["drop"] < row["drop_hi"]
    assert row["ri"] == pytest.approx(1, abs=0.1)
    assert row["ri_lo"] < row["ri"] < row["ri_hi"]
    assert row["valley_depth"] == pytest.approx(0.5, abs=0.1)
    assert row["peak_depth"] < 0.4 < row["valley_depth"] < 0.65 < row["return_depth"]
    assert row["n_returns"] == 1
    assert row["dip_p"] < 0.05
    assert row["n_seeds_agree"] == 2
    assert all(row[name] for name in CRITERIA)
    assert row["q"] >= row["p_value"]
    assert row["random_drop"] is None


def test_the_mean_over_categories_is_a_row_and_a_family_of_its_own(planted: pl.DataFrame) -> None:
    mean = planted.filter(step=1000, aggregate="mean").row(0, named=True)
    assert mean["category"] is None
    assert mean["drop"] == pytest.approx(0.2, abs=0.02)
    assert mean["q"] == mean["p_value"]


@pytest.mark.parametrize("centre", [1 / 3, 1 / 2, 2 / 3])
@pytest.mark.parametrize("n_layers", [6, 12, 30])
def test_a_valley_is_found_wherever_it_lies(centre: float, n_layers: int) -> None:
    depth = (np.arange(n_layers) + 0.5) / n_layers
    valley = 0.55 + dip(depth, 0.3, centre)
    table = reactivation(presence_of([valley] * 3, [valley] * 3, n_layers=n_layers))
    rows = table.filter(step=1000, aggregate="none")
    assert verdicts(table) == ["representational"] * 3
    assert (rows["valley_depth"] - centre).abs().max() <= 1 / 6 + 1 / n_layers


def test_a_study_that_reads_every_fourth_layer_finds_its_valley() -> None:
    depth = (np.arange(24) + 0.5) / 24
    presence = presence_of([0.55 + dip(depth)] * 3, [0.55 + dip(depth)] * 3, n_layers=24)
    table = reactivation(presence.filter(pl.col("layer") % 4 == 1))
    rows = table.filter(step=1000, aggregate="none")
    assert verdicts(table) == ["representational"] * 3
    assert rows["n_layers_read"].to_list() == [6] * 3
    for found in rows["valley_depth"]:  # layers 9 and 13 are the valley
        assert min(abs(found - 10 / 24), abs(found - 14 / 24)) < 1e-5


def test_what_random_directions_show_as_well_is_geometry() -> None:
    """Random directions fall with the SAEs, by half as much, or not at all; the dense probe falls."""
    half = (VALLEY + FLAT) / 2
    for in_random, expected in ((VALLEY, "geometric"), (half, "representational"), (FLAT, "representational")):
        own = presence_of([VALLEY] * 3, [VALLEY] * 3)
        random = presence_of([in_random] * 3, [VALLEY] * 3).with_columns(control_id=pl.lit("random_encoder"))
        table = reactivation(pl.concat([own, random]))
        measured = table.filter(control_id="none")
        assert verdicts(measured) == [expected] * 3
        net = measured.filter(step=1000, aggregate="none")["net_drop"].to_numpy()
        assert net == pytest.approx(0.3 - (in_random.max() - in_random.min()), abs=0.05)


def test_two_returns_are_counted() -> None:
    twice = 0.55 + 0.3 * (np.arange(18) % 6 < 4)
    table = reactivation(presence_of([twice] * 3, [twice] * 3, n_layers=18))
    assert table.filter(step=1000, aggregate="none")["n_returns"].to_list() == [2] * 3


def test_without_a_gain_there_is_nothing_to_come_back(planted: pl.DataFrame) -> None:
    assert verdicts(planted, step=0) == ["undefined"] * 3
    assert (planted.filter(step=0)["drop"] == 0).all()
    late_only = np.where(DEPTH > 2 / 3, 0.85, 0.55)
    assert set(verdicts(reactivation(presence_of([late_only] * 3, [FLAT] * 3)))) <= {"undefined", "none"}
    without = reactivation(presence_of([VALLEY] * 3, [FLAT] * 3).filter(pl.col("step") > 0))
    assert verdicts(without) == ["insufficient"] * 3
    assert without["drop"].is_null().all()


def test_few_layers_and_a_single_seed_claim_nothing() -> None:
    few = reactivation(presence_of([VALLEY[[0, 1, 5, 6, 11]]] * 3, [FLAT[:5]] * 3))
    assert verdicts(few) == ["insufficient"] * 3
    assert not few["gate_layers"].any()
    one_seed = reactivation(presence_of([VALLEY] * 3, [FLAT] * 3, n_seeds=1))
    assert verdicts(one_seed) == ["insufficient"] * 3
    assert one_seed.filter(step=1000)["gate_interval"].all()


def test_seeds_that_disagree_widen_the_interval() -> None:
    quiet, loud = (reactivation(presence_of([VALLEY] * 3, [FLAT] * 3, saes=saes)) for saes in (0.0, 0.1))
    width = [(t["drop_hi"] - t["drop_lo"]).filter(t["step"] == 1000).to_numpy().mean() for t in (quiet, loud)]
    assert width[1] > 3 * width[0]


def test_layers_that_are_missing_for_some_categories_are_refused() -> None:
    presence = presence_of([VALLEY] * 3, [FLAT] * 3)
    holed = presence.filter(~((pl.col("category") == "c001") & (pl.col("layer") == 3)))
    with pytest.raises(EmergenceError, match="same layers"):
        list(depth_profiles(holed))
    assert reactivation(presence.clear()).is_empty()


def test_a_verdict_without_its_criteria_breaks_the_check(planted: pl.DataFrame) -> None:
    assert with_relations(planted, SPEC.relations)["verdicts_follow_from_their_gates"].all()
    forged = planted.with_columns(gate_fdr=pl.lit(False))
    assert not with_relations(forged, SPEC.relations)["verdicts_follow_from_their_gates"].all()
    too_few = planted.with_columns(n_layers_read=pl.lit(4, pl.Int16))
    assert not with_relations(too_few, SPEC.relations)["verdicts_follow_from_their_gates"].all()


def test_the_index_with_all_criteria_rejects_noise_that_the_naive_rule_accepts() -> None:
    figures = measure_reactivation_rules(1, (6, 12), Noise(n_boot=100))
    for n_layers, naive in ((6, 0.6), (12, 0.9)):
        assert figures[f"flat, {n_layers} layers"]["naive"] > naive
        for shape in ("flat", "rising", "hump", "flat over a hump at step 0"):
            assert figures[f"{shape}, {n_layers} layers"]["gated"] <= 0.02, shape  # one of 50; of 1,000 at most 3
        assert figures[f"valley of .3, {n_layers} layers"]["gated"] >= 0.95
        assert figures[f"valley of .3, {n_layers} layers"]["right verdict of those"] > 0.95
