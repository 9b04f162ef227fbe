"""The table of controls: every control beside the measurement, paired over texts; broken data is refused."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from emergence_assets.emergence.controls.comparison import category_controls
from emergence_assets.emergence.controls.spec import CATEGORY_CONTROLS as SPEC
from emergence_assets.emergence.controls.table import CATEGORY_CONTROLS
from resources.tables.expectations import validate
from resources.tables.relation import with_relations

CHOSEN = ("step0", "label_shuffle", "reinit_keep_embed", "bow", "dense")


@pytest.fixture(scope="module")
def presence(planted_presence: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    return planted_presence(lambda _m, step, _l, c: 0.6 if step == 8 and c < 3 else 0.0, steps=(0, 8), n_layers=2)


@pytest.fixture(scope="module")
def parts(presence: pl.DataFrame) -> pl.DataFrame:
    """A control equal to the measurement minus 0.1 in every replicate."""
    real = presence.filter(step=8, control_id="none")
    return real.select(
        pl.lit("reinit_keep_embed").alias("control_id"),
        pl.lit(0, pl.Int16).alias("draw"),
        *("layer", "category_level", "category", "p_select", "p_dense"),
        p_best=pl.col("p_best") - pl.lit(0.1, pl.Float32),
        replicates=pl.col("replicates").list.eval(pl.element() - pl.lit(0.1, pl.Float32)),
    )


@pytest.fixture(scope="module")
def table(parts: pl.DataFrame, presence: pl.DataFrame) -> pl.DataFrame:
    return category_controls(parts, presence, CHOSEN)


def test_every_control_stands_beside_every_row(table: pl.DataFrame) -> None:
    assert table.schema == CATEGORY_CONTROLS.schema
    assert len(table) == len(CHOSEN) * (5 + 1)  # in one layer, the best one of the level
    assert table["layer"].n_unique() == 1
    assert set(table["control_id"]) == set(CHOSEN)
    assert table["step"].unique().to_list() == [8]


def test_differences_are_paired(table: pl.DataFrame) -> None:
    above = table.filter(control_id="reinit_keep_embed")
    for name in ("above_control", "above_control_lo", "above_control_hi"):
        np.testing.assert_allclose(above[name].to_numpy(), 0.1, atol=1e-5)
    rows = table.filter(control_id="step0", aggregate="none", category="c0")
    assert (rows["above_control_lo"] > 0.1).all()
    same = table.filter(control_id="step0", aggregate="none", category="c4")
    assert (same["above_control_lo"] < 0).all()
    assert (same["above_control_hi"] > 0).all()


def test_p_values_are_corrected_over_the_categories_of_a_level(table: pl.DataFrame) -> None:
    for (_, control, aggregate), rows in table.group_by("layer", "control_id", "aggregate"):
        p = rows["p_value"].to_numpy()
        by_hand = [min(1, min(p[p >= one] * len(p) / [(p <= other).sum() for other in p[p >= one]])) for one in p]
        np.testing.assert_allclose(rows["q"].to_numpy(), by_hand, rtol=1e-6)
        if aggregate == "none" and control == "step0":
            assert (rows.sort("category")["q"].to_numpy()[:3] < 0.05).all()
            assert (rows.sort("category")["q"].to_numpy()[3:] > 0.05).all()


def test_a_control_that_was_drawn_several_times_is_known_no_better_than_its_draws(
    parts: pl.DataFrame, presence: pl.DataFrame
) -> None:
    """Equal draws change nothing; draws that differ by more than texts do widen the interval by their spread."""
    apart = [-0.12, -0.04, 0.04, 0.12]

    def drawn(shifts: list[float]) -> pl.DataFrame:
        moved = [
            parts.with_columns(
                draw=pl.lit(draw, pl.Int16),
                p_best=pl.col("p_best") + pl.lit(shift, pl.Float32),
                replicates=pl.col("replicates").list.eval(pl.element() + pl.lit(shift, pl.Float32)),
            )
            for draw, shift in enumerate(shifts)
        ]
        table = category_controls(pl.concat(moved), presence, ["reinit_keep_embed"])
        return table.filter(aggregate="none").with_columns(
            width=pl.col("above_control_hi") - pl.col("above_control_lo")
        )

    same, differing = drawn([0.0] * 4), drawn(apart)
    for table in (same, differing):
        assert table["n_draws"].to_list() == [4] * len(table)
        np.testing.assert_allclose(table["above_control"].to_numpy(), 0.1, atol=1e-5)
    np.testing.assert_allclose(same["width"].to_numpy(), 0, atol=1e-5)
    # Of the mean of four: a standard deviation of .103 over two; 2.5 to 97.5 % are 3.92 of these.
    expected = 3.92 * np.std(apart, ddof=1) / 2
    assert (differing["width"] / expected).is_between(0.7, 1.3).all(), (differing["width"], expected)


def test_the_mean_is_over_the_categories(table: pl.DataFrame) -> None:
    for control in CHOSEN:
        rows = table.filter(control_id=control, layer=1)
        mean, each = (rows.filter(aggregate=name) for name in ("mean", "none"))
        assert mean["above_control"].item() == pytest.approx(each["above_control"].mean(), abs=1e-5)
        assert (
            mean["above_control_hi"].item() - mean["above_control_lo"].item()
            <= each.select((pl.col("above_control_hi") - pl.col("above_control_lo")).max()).item()
        )


def test_the_bag_of_words_has_no_interval_of_its_own_and_the_dense_probe_has(table: pl.DataFrame) -> None:
    words, dense = table.filter(control_id="bow"), table.filter(control_id="dense")
    assert words["p_best_lo"].null_count() == len(words)
    assert words["above_control_lo"].null_count() == dense["above_control_lo"].null_count() == 0
    assert dense.select((pl.col("p_best_lo") < pl.col("p_best_hi")).all()).item()
    assert table.filter(control_id="bow", aggregate="none")["p_best"].to_list() == pytest.approx([0.8] * 5)


def test_what_was_not_chosen_is_left_out(parts: pl.DataFrame, presence: pl.DataFrame) -> None:
    assert set(category_controls(parts, presence, ["bow"])["control_id"]) == {"bow"}
    assert category_controls(parts.clear(), presence, ["reinit_keep_embed"]).is_empty()


def failed(frame: pl.DataFrame) -> set[str]:
    declared, checks = SPEC.table, SPEC.checks
    assert declared is CATEGORY_CONTROLS
    filled = frame.with_columns(pl.col("category").fill_null(""))
    return {one.check.name for one in validate(with_relations(filled, SPEC.relations), checks) if not one.passed}


def test_good_data_passes_and_broken_data_is_caught(table: pl.DataFrame) -> None:
    assert failed(table) == set()
    one_short = table.filter(~((pl.col("control_id") == "bow") & (pl.col("category") == "c1")).fill_null(False))
    assert failed(one_short) == {"every_control_stands_beside_every_row"}
    leaking = table.with_columns(
        p_best=pl.when(pl.col("control_id") == "label_shuffle").then(0.6).otherwise("p_best").cast(pl.Float32),
        p_best_lo=pl.lit(None, pl.Float32),
    )
    assert failed(leaking) == {"shuffled_labels_are_at_chance"}
    assert failed(pl.concat([table, table.head(1)])) == {"keys_are_unique"}
    assert failed(table.with_columns(above_control=pl.lit(1.5, pl.Float32))) == {"values_are_in_range"}
    assert failed(table.with_columns(p_measured=pl.lit(None, pl.Float32))) == {"values_are_present"}
