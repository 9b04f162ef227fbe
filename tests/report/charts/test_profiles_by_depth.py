"""The charts of fade and return: their categories and numbers, and no chart with too few layers."""

import numpy as np
import polars as pl
import pytest

from benchmarks.planted_profiles import Noise, planted_presence
from emergence_assets.emergence.space.over_space import emergence_over_space
from emergence_assets.emergence.space.reactivation import reactivation
from emergence_assets.report.charts.profiles_by_depth import (
    MAX_CATEGORIES,
    falling_categories,
    index_over_steps,
    profiles_by_depth,
)
from emergence_assets.report.charts.theme import NARROW, WIDE, chart_svg
from tests.report.charts.test_charts import _rows

FALLS = (0.0, 0.3, 0.1, 0.05, 0.2, 0.0)


def tables(n_layers: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    depth = (np.arange(n_layers) + 0.5) / n_layers
    middle = (depth > 1 / 3) & (depth < 2 / 3)
    trained = 0.85 - np.array(FALLS)[:, None] * middle
    presence = planted_presence(
        trained, np.full_like(trained, 0.55), trained, Noise(0.005, 0.005), np.random.default_rng(0)
    )
    return reactivation(presence), emergence_over_space(presence)


@pytest.fixture(scope="module")
def falling() -> tuple[pl.DataFrame, pl.DataFrame]:
    return tables(9)


def test_the_deepest_falls_are_shown_with_their_profiles(falling: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    table, space = falling
    chosen = falling_categories(table, "subject", "planted")
    assert chosen["category"].to_list() == ["c001", "c004", "c002", "c003"]
    assert chosen.height == MAX_CATEGORIES
    rows = _rows(profiles_by_depth(table, space, "subject", "planted").to_dict())
    drawn = sorted({row["p"] for row in rows if row.get("line") == "best latent" and "p" in row})  # line and points
    wanted = space.filter(pl.col("category").is_in(chosen["category"].to_list()), step=1000)["profile"].explode()
    assert drawn == pytest.approx(sorted(wanted.to_list()), abs=1e-5)
    over_steps = _rows(index_over_steps(table, "subject", "planted").to_dict())
    index = {row["category"]: row["ri"] for row in over_steps if "category" in row}
    assert index == {row["category"]: pytest.approx(row["ri"], abs=1e-5) for row in chosen.to_dicts()}


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_both_widths_compile(falling: tuple[pl.DataFrame, pl.DataFrame], width: int) -> None:
    table, space = falling
    assert "<svg" in chart_svg(profiles_by_depth(table, space, "subject", "planted", width).to_dict(), "a")
    assert "<svg" in chart_svg(index_over_steps(table, "subject", "planted", width).to_dict(), "a")


def test_five_layers_are_not_drawn() -> None:
    assert falling_categories(tables(5)[0], "subject", "planted").is_empty()
