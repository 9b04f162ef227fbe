"""Charts show the numbers of the tables, compile, and differ in width only."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from emergence_assets.report.charts.controls_at_last_step import NAMES, control_means
from emergence_assets.report.charts.figures import draw_figures
from emergence_assets.report.charts.latents_found_again import stability_rows
from emergence_assets.report.charts.readings import (
    ReportTables,
    complete_steps,
    gains_at_best_layer,
    means_by_step,
    measured,
    models_by_size,
    shuffled_by_step,
)
from emergence_assets.report.charts.theme import COLOURS, NARROW, WIDE, chart_png, chart_svg

ALL = [
    "presence_over_time",
    "controls_at_last_step",
    "gain_by_layer",
    "presence_over_size",
    "utility_by_compute",
    "share_emerged",
    "half_steps_by_category",
    "gain_by_category",
    "use_by_category",
    "shares_by_category",
    "sae_quality",
    "latents_found_again",
    "checkpoint_likeness",
]


Specs = dict[str, tuple[dict[str, Any], dict[str, Any]]]


def _rows(spec: Any) -> list[dict[str, Any]]:
    """Collect all rows of inline data in a specification."""
    if isinstance(spec, list):
        return [row for part in spec for row in _rows(part)]
    if not isinstance(spec, dict):
        return []
    own = spec["values"] if isinstance(spec.get("values"), list) else []
    inline = [row for row in own if isinstance(row, dict)]
    named = [row for rows in spec.get("datasets", {}).values() for row in rows]
    return inline + named + [row for key, part in spec.items() if key != "datasets" for row in _rows(part)]


@pytest.fixture(scope="module")
def charts(rising: ReportTables) -> Specs:
    """Charts of both widths, by name."""
    return {figure.name: (figure.wide, figure.narrow) for figure in draw_figures(rising)}


def test_captions_have_no_untrained_network_where_there_is_none(rising: ReportTables) -> None:
    later = replace(rising, category_presence=rising.category_presence.filter(pl.col("step") > 0))
    with_step_0 = {figure.name: figure for figure in draw_figures(rising)}
    without = {figure.name: figure for figure in draw_figures(later)}
    assert "untrained network; only the height above it" in with_step_0["presence_over_time"].caption
    model = models_by_size(later.category_presence)[0]
    for name in ("presence_over_time", "presence_over_size"):
        assert "without step 0" not in with_step_0[name].caption
        assert "untrained" not in without[name].caption
        assert "step 0 point" not in without[name].caption
        assert "without step 0" in without[name].caption
        assert model in without[name].caption
    assert "step 0" not in without["presence_over_time"].wide["description"]


def test_a_whole_study_has_all_figures_in_order(charts: Specs) -> None:
    assert list(charts) == ALL


def test_means_are_those_of_the_headline(rising: ReportTables) -> None:
    means = means_by_step(rising.category_presence, "subject").filter(pl.col("model") == "large").sort("step")
    row = rising.headline.filter(pl.col("model") == "large", pl.col("control_id") == "none").row(0, named=True)
    for position, end in ((0, "first"), (-1, "last")):
        shown = means.row(position, named=True)
        found = [shown[key] for key in ("p_best", "lo", "hi", "p_dense")]
        wanted = [row[key] for key in (f"p_{end}", f"p_{end}_lo", f"p_{end}_hi", f"p_dense_{end}")]
        assert found == pytest.approx(wanted, abs=1e-5)
    shuffled = shuffled_by_step(rising.category_presence, "subject")
    headline = rising.headline.filter(pl.col("control_id") == "none")
    assert shuffled["lo"].min() == pytest.approx(headline["p_shuffle_min"].min(), abs=1e-6)
    assert shuffled["hi"].max() == pytest.approx(headline["p_shuffle_max"].max(), abs=1e-6)


def test_presence_over_time_shows_every_control(charts: Specs, rising: ReportTables) -> None:
    rows = [row for row in _rows(charts["presence_over_time"][0]) if "line" in row]
    assert {row["line"] for row in rows} == {
        "best latent",
        "step 0 level",
        "best random direction",
        "dense probe",
        "shuffled labels",
        "bag of words",
    }
    best = {(row["model"], row["step"]): row["p"] for row in rows if row["line"] == "best latent"}
    level = {row["p"] for row in rows if row["line"] == "step 0 level" and row["model"] == "large"}
    assert level == {best["large", 0]}
    assert best["large", 512] > best["large", 0] + 0.2
    assert len(best) == len(models_by_size(rising.category_presence)) * rising.category_presence["step"].n_unique()


def test_heat_map_cells_are_gains_over_step_0_and_net_gains(charts: Specs, rising: ReportTables) -> None:
    drawn = _rows(charts["gain_by_layer"][0])
    cells = {(row["model"], row["layer"], row["step"]): row["gain"] for row in drawn}
    assert cells["large", 0, 0] == 0
    # Both are drawn: the value of a cell is one or the other.
    values = {(row["model"], row["layer"], row["step"], row["value"]) for row in drawn}
    net = next(row["net_gain"] for row in drawn if (row["model"], row["layer"], row["step"]) == ("large", 1, 512))
    assert {("large", 1, 512, cells["large", 1, 512]), ("large", 1, 512, net)} <= values
    gains = rising.category_presence.filter(
        pl.col("control_id") == "none", pl.col("model") == "large", pl.col("layer") == 1
    )
    wanted = gains.filter(pl.col("step") == 512)["gain"].cast(pl.Float64).mean()
    assert cells["large", 1, 512] == pytest.approx(wanted, abs=1e-5)


def test_the_best_layer_is_chosen_on_the_other_half(rising: ReportTables) -> None:
    chosen = gains_at_best_layer(rising.category_presence, "subject", "large")
    last = measured(rising.category_presence, "subject").filter(pl.col("model") == "large", pl.col("step") == 512)
    best = last.filter(pl.col("p_select") == pl.col("p_select").max().over("category"))
    assert set(chosen.select("category", "layer").unique().rows()) == set(best.select("category", "layer").rows())
    assert chosen.group_by("category", "step").len()["len"].to_list() == [1] * (
        6 * rising.category_presence["step"].n_unique()
    )


def test_checkpoints_with_missing_layers_are_not_averaged(rising: ReportTables) -> None:
    rows = measured(rising.category_presence, "subject")
    half = rows.filter(~((pl.col("model") == "large") & (pl.col("step") == 64) & (pl.col("layer") == 1)))
    left = complete_steps(half).select("model", "step").unique().rows()
    assert ("large", 64) not in left
    assert ("small", 64) in left


def test_the_share_that_emerged_ends_where_the_table_does(charts: Specs, rising: ReportTables) -> None:
    rows = _rows(charts["share_emerged"][0])
    last = {(row["model"], row["control_id"]): row["share"] for row in rows if row["step"] == 512}
    assert last == {
        ("small", "none"): 1,
        ("large", "none"): 1,
        ("small", "label_shuffle"): 0,
        ("large", "label_shuffle"): 0,
    }
    assert {row["share"] for row in rows if row["step"] == 0} == {0}
    emerged = rising.emergence_over_time.filter(
        pl.col("layer_choice") == "best", pl.col("aggregate") == "none", pl.col("emerged")
    )
    assert emerged.height == 12


def test_only_emerged_categories_have_a_half_step(charts: Specs, rising: ReportTables) -> None:
    rows = _rows(charts["half_steps_by_category"][0])
    assert {row["domain"] for row in rows} == {"living", "made"}
    assert len({row["category"] for row in rows}) == 6
    assert all(row["half_step_lo"] <= row["half_step"] <= row["half_step_hi"] for row in rows)


@pytest.mark.parametrize("name", ALL)
def test_charts_are_drawn_in_both_widths(charts: Specs, name: str) -> None:
    for chart, width in zip(charts[name], (WIDE, NARROW), strict=True):
        png = chart_png(chart, ppi=72)
        pixels = struct.unpack(">I", png[16:20])[0]
        assert 0.8 * width < pixels < 1.2 * width
        json.dumps(chart, allow_nan=False)


@pytest.mark.parametrize("name", ALL)
def test_svg_is_safe_and_follows_the_page(charts: Specs, name: str) -> None:
    svg = chart_svg(charts[name][0], "here")
    assert svg.startswith('<svg role="img" aria-label="')
    assert "<script" not in svg
    assert not any(f'"{light}"' in svg for light, _ in COLOURS.values())
    assert "var(--ink)" in svg
    assert all(part.startswith("here-") for part in (piece.split('"')[0] for piece in svg.split(' id="')[1:]))
    assert svg == chart_svg(charts[name][0], "here")


def test_figures_without_data_are_left_out(empty: ReportTables, planted_tables: Callable[..., ReportTables]) -> None:
    late = planted_tables(0.5, steps=(8, 64))
    names = [figure.name for figure in draw_figures(late)]
    assert names == [
        "presence_over_time",
        "controls_at_last_step",
        "presence_over_size",
        "use_by_category",
        "shares_by_category",
        "sae_quality",
        "latents_found_again",
        "checkpoint_likeness",
    ]
    assert draw_figures(empty) == []


def test_charts_of_unfinished_studies_compile(planted_tables: Callable[..., ReportTables]) -> None:
    for tables in (planted_tables(0.5, steps=(8, 64)), planted_tables(0.5, steps=(0,))):
        assert draw_figures(tables)
        for figure in draw_figures(tables):
            assert chart_svg(figure.wide, "x").endswith("</svg>")


def test_colours_of_the_theme_differ() -> None:
    light = [pair[0] for pair in COLOURS.values()]
    assert len(set(light)) == len(light)


def test_shares_are_drawn_where_they_are_defined(rising: ReportTables, charts: Specs) -> None:
    defined = rising.reactivation_mechanism.drop_nulls("share_attn")
    shown = {(row["category"], row["part"]): row["share"] for row in _rows(charts["shares_by_category"][0])}
    assert len(shown) == 3 * len(defined) < 3 * len(rising.reactivation_mechanism)
    for row in defined.iter_rows(named=True):
        assert shown[row["category"], "added by attention"] == pytest.approx(row["share_attn"], abs=1e-4)
        assert shown[row["category"], "added by MLPs"] == pytest.approx(row["share_mlp"], abs=1e-4)


def test_use_is_drawn_beside_its_controls_and_filled_where_it_is_granted(rising: ReportTables, charts: Specs) -> None:
    rows = [row for row in _rows(charts["use_by_category"][0]) if "of" in row]
    drawn = {(row["category"], row["of"]): row["x"] for row in rows}
    assert len(drawn) == 7  # three latents of two categories; the third has no controls
    for row in rising.feature_use.iter_rows(named=True):
        for name in ("use", "use_control", "use_random"):
            assert drawn.get((row["category"], name)) == (None if row[name] is None else pytest.approx(row[name]))
    used = set(rising.claims.filter(pl.col("grade").is_in(["A", "B"]), kind="use")["category"])
    assert {row["category"] for row in rows if row["of"] == "use" and row["is_filled"]} == used
    assert len(used) == 1


def test_controls_stand_beside_the_measurement_in_the_best_layer(rising: ReportTables) -> None:
    found = control_means(rising.category_controls, "subject").filter(model="large")
    [layer] = found["layer"].unique().to_list()
    at = rising.category_presence.filter(model="large", layer=layer, control_id="none", category_level="subject")
    last = at.filter(pl.col("step") == pl.col("step").max())
    first = at.filter(step=0)
    assert found["p_measured"].to_list() == pytest.approx([last["p_best"].mean()] * len(found), abs=1e-5)
    assert set(found["control_id"]) == set(NAMES)
    by_control = dict(found.select("control_id", "p_best").iter_rows())
    assert by_control["step0"] == pytest.approx(first["p_best"].mean(), abs=1e-5)
    assert by_control["dense"] == pytest.approx(last["p_dense"].mean(), abs=1e-5)


def test_shares_found_again_are_those_of_the_table(rising: ReportTables, charts: Specs) -> None:
    rows = stability_rows(rising.lineage_stability, "large").filter(pl.col("pairing") == "other_seed")
    drawn = _rows(charts["latents_found_again"][0])
    for line, column in (
        ("next checkpoint, another seed", "s_raw"),
        ("same checkpoint, another seed (ceiling)", "s_ceiling"),
        ("ratio to the ceiling", "s_norm"),
        ("survival", "survival"),
    ):
        shown = {row["step"]: row["y"] for row in drawn if row.get("line") == line}
        table = dict(rows.drop_nulls(column).select("step_to", column).iter_rows())
        assert shown.keys() == table.keys()
        assert len(table) == len(rows) > 2
        for step, value in table.items():
            assert shown[step] == pytest.approx(value, abs=1e-4)
