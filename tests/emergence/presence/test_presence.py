"""Presence: mean over seeds, gain over step 0, and refused inputs."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from emergence_assets.emergence.presence.presence import category_presence
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
from resources.errors import EmergenceError


def late(model: str, step: int, layer: int, c: int) -> float:
    return 0.5 if step >= 64 and c == 2 else 0.0


def test_seeds_are_averaged_and_the_gain_is_paired(
    planted_cells: Callable[..., pl.DataFrame], bow: pl.DataFrame
) -> None:
    cells = planted_cells(late, {"s": 1000}, (0, 64), sae_seeds=(0, 1))
    table = category_presence(cells, bow)
    assert table.schema == CATEGORY_PRESENCE.schema
    assert table.height == 2 * 3 * 5
    row = table.filter(control_id="none", step=64, category="c2").row(0, named=True)
    seeds = cells.filter(control_id="none", step=64, category="c2")
    before = cells.filter(control_id="none", step=0, category="c2")
    assert row["n_seeds"] == 2
    assert row["n_boot"] == 60
    assert row["p_best"] == pytest.approx(seeds["p_best"].to_numpy().mean())
    assert row["p_seeds"] == seeds["p_best"].to_list()
    # Replicates are means over seeds, moved by the deviation of a mean of two seeds.
    mean = np.mean([np.array(r) for r in seeds["replicates"]], axis=0)
    moved = np.array(row["replicates"]) - mean
    assert moved.std() < 0.03
    assert abs(moved.mean()) < 0.01
    start = table.filter(control_id="none", step=0, category="c2").row(0, named=True)
    assert start["p_best"] == pytest.approx(before["p_best"].to_numpy().mean())
    gains = np.array(row["replicates"]) - np.array(start["replicates"])
    np.testing.assert_allclose([row["gain_lo"], row["gain_hi"]], np.quantile(gains, (0.025, 0.975)), atol=1e-6)
    assert row["gain"] == pytest.approx(row["p_best"] - row["p_step0"])
    assert row["gain_lo"] > 0.1
    assert row["excess"] == pytest.approx(row["gain"] / (1 - row["p_step0"]), rel=1e-5)
    assert row["excess_lo"] < row["excess"] < row["excess_hi"]
    assert row["alloc_gap"] == pytest.approx(row["p_dense"] - row["p_best"])
    assert np.mean(row["p_seeds"]) == pytest.approx(row["p_best"])
    assert len(row["p_seeds"]) == row["n_seeds"]
    np.testing.assert_allclose(
        np.quantile(row["replicates_dense"], (0.025, 0.975)), (row["p_dense_lo"], row["p_dense_hi"]), atol=1e-6
    )
    assert row["p_bow"] == pytest.approx(0.8)
    assert row["trivially_lexical"] is False
    noise = table.filter(control_id="label_shuffle", step=64, category="c2").row(0, named=True)
    assert abs(noise["gain"]) < 0.08


def test_one_seed_is_its_own_mean(planted_cells: Callable[..., pl.DataFrame], bow: pl.DataFrame) -> None:
    cells = planted_cells(late, {"s": 1000}, (0,))
    key = ["control_id", "category"]
    table = category_presence(cells, bow).filter(pl.col("control_id") != "random_encoder").sort(key)
    cells = cells.filter(pl.col("control_id") != "random_encoder").sort(key)
    assert table["p_best"].equals(cells["p_best"])
    assert table["replicates"].equals(cells["replicates"])
    assert table["p_seeds"].explode().equals(cells["p_best"].alias("p_seeds"))
    assert (table["gain"] == 0).all()
    assert (table["excess_hi"] == 0).all()


def test_the_order_of_cells_and_seeds_does_not_matter(
    planted_cells: Callable[..., pl.DataFrame], bow: pl.DataFrame
) -> None:
    cells = planted_cells(late, {"s": 1000, "m": 5000}, (0, 64), sae_seeds=(0, 1))
    assert category_presence(cells, bow).equals(category_presence(cells.sample(fraction=1, shuffle=True, seed=1), bow))


def test_without_step0_there_is_no_gain(planted_presence: Callable[..., pl.DataFrame]) -> None:
    table = planted_presence(late, steps=(64, 128))
    for name in ("p_step0", "gain", "gain_lo", "excess", "excess_hi", "trivially_lexical"):
        assert table[name].is_null().all(), name


def test_a_category_that_the_untrained_network_has_is_trivial(
    planted_cells: Callable[..., pl.DataFrame], bow: pl.DataFrame
) -> None:
    cells = planted_cells(late, {"s": 1000}, (0, 64))
    cells = cells.with_columns(p_best=pl.when(step=0, category="c1").then(0.985).otherwise("p_best").cast(pl.Float32))
    table = category_presence(cells, bow.clear())
    trivial = table.filter(category="c1")
    assert trivial["trivially_lexical"].all()
    assert trivial["excess"].is_null().all()
    assert trivial["gain"].is_not_null().all()
    assert not table.filter(pl.col("category") != "c1")["trivially_lexical"].any()
    assert table["p_bow"].is_null().all()  # a control that was not measured is missing, not zero


def test_data_version_changes_with_any_cell(planted_cells: Callable[..., pl.DataFrame], bow: pl.DataFrame) -> None:
    cells = planted_cells(late, {"s": 1000}, (0,), sae_seeds=(0, 1))
    changed = cells.with_columns(
        data_version=pl.when(pl.col("sae_seed") == 1).then(pl.lit("new")).otherwise("data_version")
    )
    one, two = category_presence(cells, bow)["data_version"], category_presence(changed, bow)["data_version"]
    assert one.str.len_chars().unique().to_list() == [16]
    assert one[0] != two[0]


def test_repeated_cells_and_other_texts_are_refused(
    planted_cells: Callable[..., pl.DataFrame], bow: pl.DataFrame
) -> None:
    cells = planted_cells(late, {"s": 1000}, (0, 64))
    with pytest.raises(EmergenceError, match="given twice"):
        category_presence(pl.concat([cells, cells.head(1)]), bow)
    other = cells.with_columns(n_texts=pl.when(pl.col("step") == 64).then(7).otherwise("n_texts"))
    with pytest.raises(EmergenceError, match="different texts"):
        category_presence(other, bow)
    short = cells.with_columns(
        replicates=pl.when(pl.col("step") == 64).then(pl.col("replicates").list.head(5)).otherwise("replicates")
    )
    with pytest.raises(EmergenceError, match="not paired"):
        category_presence(short, bow)
    assert dict(category_presence(cells.clear(), bow).schema) == CATEGORY_PRESENCE.schema
