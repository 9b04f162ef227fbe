"""Space: the planted layer is the peak, and a flat profile gives no claim."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from emergence_assets.emergence.space.over_space import emergence_over_space
from emergence_assets.emergence.space.table import EMERGENCE_OVER_SPACE


def planted(model: str, step: int, layer: int, c: int) -> float:
    """c0 at layer 4 of 6 and less at its neighbours; c1 at layers 0 and 1; the others absent."""
    return (step > 0) * ((c == 0) * {3: 0.15, 4: 0.6, 5: 0.15}.get(layer, 0.0) + (c == 1) * 0.4 * (layer < 2))


@pytest.fixture(scope="module")
def over_space(planted_presence: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    return emergence_over_space(planted_presence(planted, steps=(0, 100), n_layers=6))


def row(table: pl.DataFrame, category: str, step: int = 100, control_id: str = "none") -> dict[str, Any]:
    return table.filter(step=step, control_id=control_id, category=category).row(0, named=True)


def test_a_planted_layer_is_the_peak(over_space: pl.DataFrame) -> None:
    assert over_space.schema == EMERGENCE_OVER_SPACE.schema
    found = row(over_space, "c0")
    assert found["peak_layer"] == found["best_layer"] == 4
    assert found["peak_depth"] == pytest.approx(5 / 6)
    assert found["peak_depth_lo"] == found["peak_depth_hi"] == pytest.approx(5 / 6)
    assert 0.6 < found["com_depth_lo"] < found["com_depth"] < found["com_depth_hi"] < 0.9
    assert found["width"] == pytest.approx(1 / 6)
    assert found["max_gain"] == found["best_gain"]
    assert found["best_gain_lo"] > 0.15
    assert found["layers"] == list(range(6))
    assert len(found["profile"]) == len(found["profile_step0"]) == len(found["profile_dense"]) == 6


def test_early_layers_have_an_early_centre_of_mass(over_space: pl.DataFrame) -> None:
    found = row(over_space, "c1")
    assert found["com_depth"] < 0.45
    assert found["width"] == pytest.approx(2 / 6)


def test_step0_gains_nothing_over_itself(over_space: pl.DataFrame) -> None:
    found = row(over_space, "c0", step=0)
    assert found["max_gain"] == 0
    assert found["com_depth"] is None
    assert found["width"] is None
    assert found["profile"] == found["profile_step0"]


def test_shuffled_labels_gain_nothing_at_the_best_layer(over_space: pl.DataFrame) -> None:
    shuffled = over_space.filter(control_id="label_shuffle", aggregate="none", step=100)
    assert shuffled["best_gain"].to_numpy().mean() == pytest.approx(0, abs=0.03)


def test_a_single_layer_is_a_profile(planted_presence: Callable[..., pl.DataFrame]) -> None:
    found = row(emergence_over_space(planted_presence(lambda m, s, layer, c: 0.4 * (s > 0), steps=(0, 100))), "c0")
    assert (found["peak_layer"], found["com_depth"], found["width"]) == (0, 1, 1)


def test_without_step0_the_profile_is_all_there_is(planted_presence: Callable[..., pl.DataFrame]) -> None:
    table = emergence_over_space(planted_presence(planted, steps=(100,), n_layers=2))
    assert table["max_gain"].is_null().all()
    assert table["best_gain_lo"].is_null().all()
    assert table["profile_step0"][0].to_list() == [None, None]
    assert emergence_over_space(planted_presence(planted, steps=(100,)).clear()).is_empty()


def test_onset_and_width_have_intervals_and_a_step_has_one_mode(over_space: pl.DataFrame) -> None:
    late, early = row(over_space, "c0"), row(over_space, "c1")
    assert late["onset_depth"] == late["onset_depth_lo"] == late["onset_depth_hi"] == pytest.approx(5 / 6)
    assert early["onset_depth"] == pytest.approx(1 / 6)
    for found in (late, early):
        assert found["width_lo"] <= found["width"] <= found["width_hi"]
        assert found["n_modes"] == 1
        assert found["dip_p"] > 0.05
    assert row(over_space, "c3")["n_modes"] == 0
    assert row(over_space, "c0", step=0)["onset_depth"] is None


def test_a_category_at_both_ends_has_two_modes(planted_presence: Callable[..., pl.DataFrame]) -> None:
    ends = planted_presence(lambda m, s, layer, c: 0.5 * (s > 0) * (layer in (0, 5)), steps=(0, 100), n_layers=6)
    found = row(emergence_over_space(ends), "c0")
    assert found["n_modes"] == 2
    assert found["dip_p"] < 0.05


def test_the_embedding_has_a_presence_of_its_own(planted_presence: Callable[..., pl.DataFrame]) -> None:
    shifted = planted_presence(planted, steps=(0, 100), n_layers=6).with_columns(layer=pl.col("layer") - 1)
    found = row(emergence_over_space(shifted.with_columns(pl.col("layer").cast(pl.Int16))), "c1")
    assert found["embed_presence"] == pytest.approx(found["profile"][0])
    assert row(emergence_over_space(planted_presence(planted, n_layers=2)), "c1", step=1)["embed_presence"] is None
