"""`emergence convergence` reads the existing tables and names the models without tables."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from emergence_assets.cli.main import main
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
from resources.files.storage import Storage
from resources.tables.parquet import write_table
from tests.conftest import TINY


@pytest.fixture
def data(planted_presence: Callable[..., pl.DataFrame], tmp_path: Path) -> Path:
    presence = planted_presence(
        lambda _model, step, _layer, _c: 0.5 * (step > 1), sizes={"gloss-tiny": 10**5}, steps=(0, 1, 100, 10**4, 10**6)
    )
    write_table(
        Storage(tmp_path, "tiny").model_table("category_presence", "gloss-tiny"), presence, CATEGORY_PRESENCE, ""
    )
    return tmp_path


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EMERGENCE_STUDY", "EMERGENCE_DATA"):
        monkeypatch.setenv(name, "")  # the command sets them; this restores them


def said(data: Path, *arguments: str) -> str:
    found = CliRunner().invoke(main, ["--study", str(TINY), "--data", str(data), "convergence", *arguments])
    assert found.exit_code == 0, found.output
    return found.output


def test_every_model_is_evaluated_or_named(data: Path) -> None:
    answer = json.loads(said(data, "--json"))
    assert answer["without_presence"] == ["gloss-tinier"]
    (row,) = answer["models"]
    assert (row["model"], row["category_level"], row["n_checkpoints"]) == ("gloss-tiny", "subject", 5)
    assert row["utility_lo"] < row["utility"] < row["utility_hi"]
    assert row["verdict"] == "stop"
    assert row["stop"]


def test_people_read_a_table(data: Path) -> None:
    text = said(data)
    assert "gloss-tiny" in text
    assert "no presence table yet: gloss-tinier" in text


def test_a_level_that_is_not_there_is_answered(data: Path) -> None:
    found = CliRunner().invoke(main, ["--study", str(TINY), "--data", str(data), "convergence", "--level", "colour"])
    assert found.exit_code == 1
    assert "choose from subject" in found.output
