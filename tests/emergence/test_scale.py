"""Scale: a planted size is bracketed, and few sizes claim no shape."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from emergence_assets.emergence.scale import SCALE_SCHEMA, emergence_over_scale
from emergence_assets.errors import EmergenceError

SIZES = {f"m{i}": 10 ** (5 + i) for i in range(6)}


def planted(model: str, step: int, layer: int, c: int) -> float:
    """c0: from m3 on. c1: grows evenly. c2: in every size. c3, c4: nowhere. Only the second layer has them."""
    size = int(model[1:])
    return (step > 0 and layer == 1) * (0.6 * (c == 0 and size >= 3) + 0.14 * size * (c == 1) + 0.5 * (c == 2))


@pytest.fixture(scope="module")
def over_scale(planted_presence: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    return emergence_over_scale(planted_presence(planted, sizes=SIZES, steps=(0, 100), n_layers=2))


def row(table: pl.DataFrame, category: str, control_id: str = "none") -> dict[str, Any]:
    return table.filter(control_id=control_id, category=category).row(0, named=True)


def test_a_planted_size_is_bracketed(over_scale: pl.DataFrame) -> None:
    assert dict(over_scale.schema) == SCALE_SCHEMA
    found = row(over_scale, "c0")
    assert (found["n_lo"], found["n_hi"], found["verdict"]) == (10**7, 10**8, "threshold")
    assert found["slope_dec_lo"] > 0
    assert found["jump_share"] > 0.8
    assert found["n_sizes"] == 6
    assert [point["layer"] for point in found["size_points"]] == [1] * 6
    assert [point["n_params_nonemb"] for point in found["size_points"]] == list(SIZES.values())


def test_an_even_growth_is_smooth_with_its_slope(over_scale: pl.DataFrame) -> None:
    found = row(over_scale, "c1")
    assert found["verdict"] == "smooth"
    # every size adds 0.14 to the rate on the category, so half of that to the AUROC
    assert found["slope_dec"] == pytest.approx(0.07, abs=0.02)
    assert found["slope_dec_lo"] < found["slope_dec"] < found["slope_dec_hi"]
    assert found["rise"] == pytest.approx(0.35, abs=0.08)


def test_present_everywhere_is_saturated_and_nowhere_absent(over_scale: pl.DataFrame) -> None:
    assert row(over_scale, "c2")["verdict"] == "saturated"
    assert row(over_scale, "c2")["n_lo"] is None
    for category in ("c3", "c4"):
        assert row(over_scale, category)["verdict"] == "absent"
    shuffled = over_scale.filter(control_id="label_shuffle")
    assert not shuffled["verdict"].is_in(["threshold", "smooth"]).any()


def test_the_mean_over_categories_has_a_row_per_level(over_scale: pl.DataFrame) -> None:
    mean = over_scale.filter(control_id="none", aggregate="mean")
    assert mean.height == 1
    single = over_scale.filter(control_id="none", aggregate="none")
    assert mean["slope_dec"][0] == pytest.approx(single["slope_dec"].to_numpy().mean(), abs=1e-5)


def test_few_sizes_claim_no_shape(planted_presence: Callable[..., pl.DataFrame]) -> None:
    few = emergence_over_scale(planted_presence(planted, sizes=dict(list(SIZES.items())[:4]), n_layers=2))
    assert few["verdict"].unique().to_list() == ["insufficient"]
    assert row(few, "c1")["slope_dec_lo"] > 0  # the size of the difference is still told
    one = emergence_over_scale(planted_presence(planted, sizes={"m3": 10**8}, n_layers=2))
    assert one["slope_dec"].is_null().all()
    assert one["verdict"].unique().to_list() == ["insufficient"]
    assert one["n_sizes"].unique().to_list() == [1]


def test_the_last_common_step_is_read(planted_presence: Callable[..., pl.DataFrame]) -> None:
    small, large = (
        planted_presence(planted, sizes={name: SIZES[name]}, steps=steps, n_layers=2)
        for name, steps in (("m1", (0, 8, 100)), ("m4", (0, 8)))
    )
    assert emergence_over_scale(pl.concat([small, large]))["step"].unique().to_list() == [8]
    with pytest.raises(EmergenceError, match="no training step in common"):
        emergence_over_scale(pl.concat([small.filter(step=100), large]))
    assert emergence_over_scale(small.clear()).is_empty()


def test_sizes_without_step0_are_insufficient(planted_presence: Callable[..., pl.DataFrame]) -> None:
    table = emergence_over_scale(planted_presence(planted, sizes=SIZES, steps=(100,), n_layers=2))
    assert table["verdict"].unique().to_list() == ["insufficient"]
    assert table["size_points"][0][0]["p_step0"] is None
