"""A finished study passes every check of every asset; tables are checked as stored on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emergence_assets.pipeline import SPECS, TABLES, specs_for
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.check_results import check_results
from emergence_assets.plan.plan import Plan
from emergence_assets.report.data_quality import check_counts
from emergence_assets.report.page.data_quality_section import data_quality_tables
from emergence_assets.report.spec import REPORT
from emergence_assets.report.spec import TABLES as SHOWN
from emergence_assets.study.load import parse_study
from resources.files.plain_yaml import read_yaml
from resources.files.storage import Storage
from resources.tables.parquet import read_table, write_table
from tests.conftest import TINY, copied

STUDY = parse_study(read_yaml(TINY))


def failures(data: Path) -> dict[str, set[str]]:
    """Return the names of failing checks, by asset."""
    plan = Plan(STUDY, Storage(data, STUDY.name), SPECS)
    used = {spec.name for spec in specs_for(STUDY)}
    found = {}
    for asset in SPECS:
        if asset.name in used:
            failed = {
                verdict.finding.check.name
                for verdict in check_results(asset, plan, plan.cells(asset))
                if not verdict.finding.passed
            }
            found |= {asset.name: failed} if failed else {}
    return found


@pytest.mark.slow
def test_a_finished_study_passes_every_check(finished_study: Path) -> None:
    assert len(SPECS) > 25
    assert failures(finished_study) == {}


@pytest.mark.slow
def test_the_report_counts_every_check_of_every_cell_that_it_is_made_from(finished_study: Path, tmp_path: Path) -> None:
    def counts(data: Path) -> list[dict[str, Any]]:
        return check_counts(Plan(STUDY, Storage(data, STUDY.name), specs_for(STUDY)), REPORT, Cell())

    rows = counts(finished_study)
    plan = Plan(STUDY, Storage(finished_study, STUDY.name), specs_for(STUDY))
    assert {"checkpoint", "activations", "sae", "latent_stats", *SHOWN} <= {row["asset"] for row in rows}
    assert all(row["n_cells"] == len(plan.cells(plan.specs[row["asset"]])) for row in rows)
    assert all(
        {row["check"] for row in rows if row["asset"] == asset} == {check.name for check in plan.specs[asset].checks}
        for asset in {row["asset"] for row in rows}
    )
    assert {row["n_failing"] for row in rows} == {0}
    assert counts(finished_study) == rows
    text = (Storage(finished_study, STUDY.name).report_folder() / "index.html").read_text("utf-8")
    assert data_quality_tables(rows) in text

    data = copied(finished_study, tmp_path / "data")
    model, table = STUDY.models[0], TABLES["category_presence"]
    path = plan.specs[table.name].path(Storage(data, STUDY.name), Cell(model))
    write_table(path, put("p_best_hi", 1.5)(read_table(path, table)), table, "")
    failing = {(row["asset"], row["check"]): row for row in counts(data) if row["n_failing"]}
    assert list(failing) == [("category_presence", "values_are_in_range")]
    [row] = failing.values()
    assert (row["n_cells"], row["n_failing"], row["failing"]) == (2, 1, [model])
    assert "p_best_hi" in row["found"][0]


Damage = Callable[[pl.DataFrame], pl.DataFrame]


def put(name: str, value: Any) -> Damage:
    """Set another value in every row of a column."""
    return lambda frame: frame.with_columns(pl.lit(value, frame.schema[name]).alias(name))


def repeat_categories(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("category").first().over("category_level"))


def settle_after_the_end(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(stabil_step=pl.col("step_last") + 1)


def lose_one_control(frame: pl.DataFrame) -> pl.DataFrame:
    one = (pl.col("control_id") == "label_shuffle") & (pl.col("category") == frame["category"].max())
    return frame.filter(~(one & (pl.col("layer") == 0)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "check", "damage"),
    [
        ("category_presence", "keys_are_unique", repeat_categories),
        ("category_presence", "values_are_in_range", put("p_best_hi", 1.5)),
        ("category_presence", "changes_are_measured_from_step_0", put("gain", None)),
        ("category_presence", "shuffled_labels_are_at_chance", put("p_best", 0.6)),
        ("category_presence", "every_control_stands_beside_every_row", lose_one_control),
        ("emergence_over_time", "values_are_in_range", put("p_end", -1.1)),
        ("emergence_over_time", "presence_is_an_auroc", put("p_end", -0.1)),
        ("emergence_over_time", "values_are_in_range", settle_after_the_end),
        ("emergence_over_space", "values_are_in_range", put("peak_depth", 2.0)),
        ("cost_utility", "values_are_present", put("train_flops", None)),
        ("reactivation", "values_are_in_range", put("verdict", "perhaps")),
        ("emergence_over_scale", "values_are_in_range", put("shape", "sideways")),
        ("claims", "grades_follow_from_controls", put("grade", "A")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_table_broken_on_disk_fails_its_check(
    finished_study: Path, tmp_path: Path, table: str, check: str, damage: Damage
) -> None:
    asset = next(one for one in SPECS if one.name == table)
    finished, storage = Storage(finished_study, STUDY.name), Storage(tmp_path, STUDY.name)
    plan = Plan(STUDY, storage, SPECS)
    cells = plan.cells(asset)
    for cell in cells:
        frame = read_table(asset.path(finished, cell), TABLES[table])
        path = asset.path(storage, cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, damage(frame), TABLES[table], "")
    assert check in {one.finding.check.name for one in check_results(asset, plan, cells) if not one.finding.passed}
