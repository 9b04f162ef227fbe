"""A finished study passes every check of every asset; tables are looked at as they lie on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emergence_assets.orchestration.assets.checks import check_results
from emergence_assets.orchestration.assets.data_docs import recorded
from emergence_assets.pipeline import SPECS, TABLES, specs_for
from emergence_assets.plan.plan import Plan
from emergence_assets.study.load import parse_study
from resources.files.plain_yaml import read_yaml
from resources.files.storage import Storage
from resources.tables.parquet import read_table, write_table
from tests.conftest import TINY

STUDY = parse_study(read_yaml(TINY))


def failures(data: Path) -> dict[str, set[str]]:
    """Names of the checks that fail, by asset."""
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
def test_the_data_docs_of_a_finished_study_have_every_cell_of_every_asset(finished_study: Path) -> None:
    storage = Storage(finished_study, STUDY.name)
    plan, used = Plan(STUDY, storage, SPECS), {spec.name for spec in specs_for(STUDY)}
    expected = {asset.name: {str(cell) for cell in plan.cells(asset)} for asset in SPECS if asset.name in used}
    records = recorded(storage)
    assert {
        record["asset"]: {name for validation in record["validations"] for name in validation["cells"]}
        for record in records
    } == expected
    assert all(check["passed"] for record in records for one in record["validations"] for check in one["checks"])
    assert all((storage.data_docs_folder() / f"{name}.html").is_file() for name in (*expected, "index"))


Damage = Callable[[pl.DataFrame], pl.DataFrame]


def put(name: str, value: Any) -> Damage:
    """Another value in every row of a column."""
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
        ("emergence_over_time", "values_are_in_range", put("p_end", -0.1)),
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
