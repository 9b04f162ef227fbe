"""The headline rises with the planted rise, and its controls do not."""

from collections.abc import Callable

import polars as pl
import pytest

from emergence_assets.emergence.presence.headline import headline
from emergence_assets.emergence.presence.table import HEADLINE


def test_the_headline_contains_rise_and_controls(planted_presence: Callable[..., pl.DataFrame]) -> None:
    presence = planted_presence(
        lambda m, step, layer, c: (0.7 if c < 3 else 0.0) * (step >= 64), steps=(0, 8, 64), n_layers=2
    )
    table = headline(presence)
    assert table.schema == HEADLINE.schema
    row = table.filter(control_id="none").row(0, named=True)
    assert (row["step_first"], row["step_last"], row["n_categories"], row["n_layers_read"]) == (0, 64, 5, 2)
    assert row["rise"] == pytest.approx(row["p_last"] - row["p_first"], abs=1e-6)
    assert row["rise_lo"] > 0.1
    assert row["rise_lo"] < row["rise"] < row["rise_hi"]
    assert (row["n_strong_first"], row["n_strong_last"]) == (0, 3)
    assert row["p_bow"] == pytest.approx(0.8)
    assert 0.46 < row["p_shuffle_min"] <= row["p_shuffle"] <= row["p_shuffle_max"] < 0.54
    control = table.filter(control_id="label_shuffle").row(0, named=True)
    assert abs(control["rise"]) < 0.02
    assert control["rise_lo"] < 0.01
    assert 0.48 < row["p_shuffle"] < 0.52


def test_the_embedding_and_unpaired_layers_are_left_out(planted_presence: Callable[..., pl.DataFrame]) -> None:
    presence = planted_presence(lambda m, step, layer, c: 0.5 * (step > 0), steps=(0, 8), n_layers=3)
    shifted = presence.with_columns(layer=pl.col("layer") - 1)
    assert headline(shifted)["n_layers_read"].unique().to_list() == [2]
    half_done = presence.filter(~((pl.col("step") == 8) & (pl.col("layer") > 0)))
    assert headline(half_done)["n_layers_read"].unique().to_list() == [1]
    nothing = presence.filter((pl.col("step") == 8) == (pl.col("layer") == 0))
    assert headline(nothing).is_empty()
    assert dict(headline(presence.clear()).schema) == HEADLINE.schema
