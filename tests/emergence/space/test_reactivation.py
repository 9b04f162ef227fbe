"""Reactivation: a planted dip is found and classified, and no other profile meets the criteria."""

import numpy as np
import polars as pl
import pytest

from benchmarks.planted_profiles import Noise, planted_presence
from benchmarks.reactivation_rules import SHAPES, measure_reactivation_rules
from emergence_assets.emergence.space.profiles import depth_profiles
from emergence_assets.emergence.space.reactivation import CRITERIA, reactivation
from emergence_assets.emergence.space.spec import REACTIVATION as SPEC
from emergence_assets.emergence.space.table import REACTIVATION
from resources.errors import EmergenceError
from resources.tables.relation import with_relations

DEPTH = (np.arange(12) + 0.5) / 12
VALLEY, FLAT = 0.55 + SHAPES["valley of .3"](DEPTH), np.full(12, 0.85)
STEP_0 = np.full((3, 12), 0.55)


def presence_of(trained: list[np.ndarray], dense: list[np.ndarray], **noise: float) -> pl.DataFrame:
    """Make three categories with these true profiles."""
    n_layers = len(trained[0])
    declared = Noise(**({"texts": 0.01, "saes": 0.01} | noise))  # pyright: ignore[reportArgumentType]
    rng = np.random.default_rng(0)
    return planted_presence(np.array(trained), STEP_0[:, :n_layers], np.array(dense), declared, rng)


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
    assert row["n_seeds_agree"] == 2
    assert all(row[name] for name in CRITERIA)
    assert row["q"] >= row["p_value"]
    assert 0 < row["drop_quarters"] < row["drop"]


def test_the_mean_over_categories_is_a_row_and_a_family_of_its_own(planted: pl.DataFrame) -> None:
    mean = planted.filter(step=1000, aggregate="mean").row(0, named=True)
    assert mean["category"] is None
    assert mean["drop"] == pytest.approx(0.2, abs=0.02)
    assert mean["q"] == mean["p_value"]


def test_without_a_gain_there_is_nothing_to_come_back(planted: pl.DataFrame) -> None:
    assert verdicts(planted, step=0) == ["undefined"] * 3
    assert (planted.filter(step=0)["drop"] == 0).all()
    late_only = np.where(DEPTH > 2 / 3, 0.85, 0.55)
    assert verdicts(reactivation(presence_of([late_only] * 3, [FLAT] * 3))) == ["undefined"] * 3
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
        assert figures[f"valley of .3, {n_layers} layers"]["gated"] == 1
        assert figures[f"valley of .3, {n_layers} layers"]["right verdict of those"] > 0.95
