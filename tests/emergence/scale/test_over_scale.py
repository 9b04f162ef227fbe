"""Scale: a planted size is bracketed, few sizes give no shape, and a result needs both SAE designs."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from emergence_assets.emergence.scale.over_scale import FIXED_EXPANSION, FIXED_WIDTH, SizeReading, emergence_over_scale
from emergence_assets.emergence.scale.table import EMERGENCE_OVER_SCALE

SIZES = {f"m{i}": 10 ** (5 + i) for i in range(6)}
Planted = Callable[..., pl.DataFrame]


def planted(model: str, step: int, layer: int, c: int) -> float:
    """c0: from m3 on. c1: grows evenly. c2: in every size. c3, c4: absent. Only the second layer has them."""
    size = int(model[1:])
    return (step > 0 and layer == 1) * (0.6 * (c == 0 and size >= 3) + 0.14 * size * (c == 1) + 0.5 * (c == 2))


@pytest.fixture(scope="module")
def presence(planted_presence: Planted) -> pl.DataFrame:
    return planted_presence(planted, sizes=SIZES, steps=(0, 100), n_layers=2)


@pytest.fixture(scope="module")
def over_scale(presence: pl.DataFrame) -> pl.DataFrame:
    return emergence_over_scale({FIXED_WIDTH: SizeReading(presence), FIXED_EXPANSION: SizeReading(presence)})


def row(
    table: pl.DataFrame,
    category: str,
    control_id: str = "none",
    condition: str = "final_step",
    design: str = FIXED_WIDTH,
) -> dict[str, Any]:
    found = table.filter(control_id=control_id, category=category, condition=condition, sae_design=design)
    return found.row(0, named=True)


def test_a_planted_size_is_bracketed(over_scale: pl.DataFrame) -> None:
    assert over_scale.schema == EMERGENCE_OVER_SCALE.schema
    found = row(over_scale, "c0")
    assert (found["n_lo"], found["n_hi"], found["verdict"]) == (10**7, 10**8, "threshold")
    assert found["n_half_lo"] <= 10**7 < found["n_half"] < 10**8 <= found["n_half_hi"]
    assert found["slope_dec_lo"] > 0
    assert found["jump_share"] > 0.8
    assert found["n_sizes"] == 6
    assert [point["layer"] for point in found["size_points"]] == [1] * 6
    assert [point["n_params_nonemb"] for point in found["size_points"]] == list(SIZES.values())


def test_an_even_growth_is_smooth_with_its_slope(over_scale: pl.DataFrame) -> None:
    found = row(over_scale, "c1")
    assert found["verdict"] == "smooth"
    assert not found["is_logistic"]
    # every size adds 0.14 to the rate on the category, so half of it to the AUROC
    assert found["slope_dec"] == pytest.approx(0.07, abs=0.02)
    assert found["slope_dec_lo"] < found["slope_dec"] < found["slope_dec_hi"]
    assert found["rise"] == pytest.approx(0.35, abs=0.08)


def test_present_everywhere_is_saturated_and_nowhere_absent(over_scale: pl.DataFrame) -> None:
    assert row(over_scale, "c2")["verdict"] == "saturated"
    assert row(over_scale, "c2")["n_lo"] is None
    for category in ("c3", "c4"):
        assert row(over_scale, category)["verdict"] == "absent"
    shuffled = over_scale.filter(control_id="label_shuffle")
    assert not shuffled["verdict"].is_in(["threshold", "smooth", "metric_artifact"]).any()


def test_the_mean_over_categories_has_a_row_per_level(over_scale: pl.DataFrame) -> None:
    one = over_scale.filter(control_id="none", condition="final_step", sae_design=FIXED_WIDTH)
    mean, single = one.filter(aggregate="mean"), one.filter(aggregate="none")
    assert mean.height == 1
    assert mean["slope_dec"][0] == pytest.approx(single["slope_dec"].to_numpy().mean(), abs=1e-5)
    strong = [point["n_count"] for point in mean["size_points"][0]]
    assert strong == sorted(strong)
    assert strong[-1] > strong[0]


def test_few_sizes_claim_no_shape(planted_presence: Planted) -> None:
    few = planted_presence(planted, sizes=dict(list(SIZES.items())[:4]), n_layers=2)
    table = emergence_over_scale({FIXED_WIDTH: SizeReading(few), FIXED_EXPANSION: SizeReading(few)})
    assert table["shape"].unique().to_list() == ["insufficient"]
    assert row(table, "c1")["slope_dec_lo"] > 0  # the difference is still reported
    assert row(table, "c0")["n_hi"] == 10**8  # and so is the bracket
    single = emergence_over_scale({FIXED_WIDTH: SizeReading(few.filter(model="m3"))})
    assert single["slope_dec"].is_null().all()
    assert single["verdict"].unique().to_list() == ["insufficient"]
    assert single["n_sizes"].unique().to_list() == [1]


def test_a_shape_needs_both_designs_and_their_agreement(presence: pl.DataFrame, planted_presence: Planted) -> None:
    alone = emergence_over_scale({FIXED_WIDTH: SizeReading(presence)})
    assert row(alone, "c0")["shape"] == "threshold"
    assert alone["verdict"].unique().to_list() == ["insufficient"]
    nothing = planted_presence(lambda *_: 0.0, sizes=SIZES, steps=(0, 100), n_layers=2)
    apart = emergence_over_scale({FIXED_WIDTH: SizeReading(presence), FIXED_EXPANSION: SizeReading(nothing)})
    for design, shape in ((FIXED_WIDTH, "threshold"), (FIXED_EXPANSION, "absent")):
        found = row(apart, "c0", design=design)
        assert (found["shape"], found["verdict"]) == (shape, "insufficient")
    assert row(apart, "c3")["verdict"] == "absent"


def test_sizes_are_compared_at_their_ends_after_as_many_tokens_and_after_as_much_compute(
    planted_presence: Planted,
) -> None:
    small, large = (
        planted_presence(planted, sizes={name: SIZES[name]}, steps=steps, n_layers=2)
        for name, steps in (("m1", (0, 8, 1000)), ("m2", (0, 8, 80, 100)))
    )
    table = emergence_over_scale({FIXED_WIDTH: SizeReading(pl.concat([small, large]))})
    read = {
        condition: [point["step"] for point in row(table, "c1", condition=condition)["size_points"]]
        for condition in ("final_step", "equal_tokens", "equal_flops")
    }
    # The larger model has seen the fewest tokens (100 steps): the smaller is nearest, by logarithm, at step 1000 or
    # 8. The smaller model has spent the least: 1000 steps of a tenth of the parameters.
    assert read["final_step"] == [1000, 100]
    assert read["equal_tokens"] == [1000, 100]
    assert read["equal_flops"] == [1000, 100]
    assert row(table, "c1", condition="equal_tokens")["mismatch_dex"] == pytest.approx(1.0)
    assert row(table, "c1", condition="equal_flops")["mismatch_dex"] == pytest.approx(0, abs=1e-6)
    assert emergence_over_scale({FIXED_WIDTH: SizeReading(small.clear())}).is_empty()


def test_a_design_without_the_checkpoints_of_a_condition_has_no_row_for_it(planted_presence: Planted) -> None:
    sizes = dict(list(SIZES.items())[:2])
    whole = planted_presence(planted, sizes=sizes, steps=(0, 10, 100), n_layers=2)
    ends = whole.filter(pl.col("step") != 10)
    table = emergence_over_scale({FIXED_WIDTH: SizeReading(whole), FIXED_EXPANSION: SizeReading(ends)})
    there = table.filter(sae_design=FIXED_EXPANSION)["condition"].unique().sort().to_list()
    assert there == ["equal_tokens", "final_step"]  # at equal compute the larger model is at step 10
    assert table.filter(sae_design=FIXED_WIDTH)["condition"].n_unique() == 3


def test_sizes_without_step0_are_insufficient(planted_presence: Planted) -> None:
    bare = planted_presence(planted, sizes=SIZES, steps=(100,), n_layers=2)
    table = emergence_over_scale({FIXED_WIDTH: SizeReading(bare), FIXED_EXPANSION: SizeReading(bare)})
    assert table["verdict"].unique().to_list() == ["insufficient"]
    assert table["size_points"][0][0]["p_step0"] is None


def test_counts_and_dictionaries_stand_beside_the_points(presence: pl.DataFrame) -> None:
    place = {"model": "m3", "step": 100, "layer": 1}
    types = {"step": pl.Int32, "layer": pl.Int16, "n_passing": pl.Float32, "fvu": pl.Float32, "l0": pl.Float32}
    counts = pl.DataFrame(
        [place | {"category_level": "subject", "category": "c0", "n_passing": 1.5}], schema_overrides=types
    )
    dictionaries = pl.DataFrame([place | {"n_latents": 16, "fvu": 0.25, "l0": 4.0}], schema_overrides=types)
    table = emergence_over_scale({FIXED_WIDTH: SizeReading(presence, dictionaries, counts)})
    points = row(table, "c0")["size_points"]
    assert [point["n_count"] for point in points] == [None, None, None, 1.5, None, None]
    assert [point["fvu"] for point in points] == [None, None, None, 0.25, None, None]
    assert row(table, "c0")["metric_sensitivity"] is None  # not every size was counted


def test_models_that_read_nearly_the_same_texts_are_compared_and_others_are_not(presence: pl.DataFrame) -> None:
    def short_of(n_texts: int, category: str) -> pl.DataFrame:
        missing = (pl.col("model") == "m4") & (pl.col("category") == category)
        counts = ("n_category", "n_texts")
        return presence.with_columns(pl.when(missing).then(pl.col(c) - n_texts).otherwise(pl.col(c)) for c in counts)

    n_texts = int(presence["n_category"].max())  # pyright: ignore[reportArgumentType]
    one, many = (
        emergence_over_scale({FIXED_WIDTH: SizeReading(short_of(n, "c1"))}).filter(pl.col("aggregate") == "none")
        for n in (1, n_texts // 5)
    )
    assert set(one["category"]) == {f"c{c}" for c in range(5)}
    assert set(many["category"]) == {"c0", "c2", "c3", "c4"}
