"""`emergence claims` on existing tables, also beside the run with another seed."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from emergence_assets.cli.main import main
from emergence_assets.emergence.claims.table import CLAIMS
from resources.files.storage import Storage
from resources.tables.parquet import read_table, write_table
from tests.conftest import TINY, run_emergence
from tests.emergence.claims.test_replication import HERE, THERE


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Claims of the tiny study, and of its run with seed 2."""
    for name in ("EMERGENCE_SEED", "EMERGENCE_STUDY", "EMERGENCE_DATA"):
        monkeypatch.setenv(name, "")  # the command sets them; this restores them
    for name, frame in (("tiny", HERE), ("tiny-seed2", THERE)):
        path = Storage(tmp_path, name).study_table("claims")
        path.parent.mkdir(parents=True)
        write_table(path, frame, CLAIMS, "")
    return tmp_path


def claims(data: Path, *arguments: str) -> str:
    runner = CliRunner(env={"COLUMNS": "200"})
    done = runner.invoke(main, ["--study", str(TINY), "--data", str(data), "claims", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_statements_are_listed_with_their_grade(data: Path) -> None:
    printed = claims(data)
    assert "shrub" not in printed  # rejected
    assert "shrub" in claims(data, "--all")
    assert "A: 1, B: 5, C: 0, reject: 1" in printed
    assert [row["claim_id"] for row in json.loads(claims(data, "--json", "--grade", "A"))] == [2]


def test_a_claim_is_one_line_of_eighty_columns(data: Path) -> None:
    runner = CliRunner(env={"COLUMNS": "80"})
    lines = runner.invoke(main, ["--study", str(TINY), "--data", str(data), "claims"]).output.splitlines()
    rows = [line for line in lines if line[:1].isdecimal()]
    assert len(rows) == 6
    assert not any(line.startswith(" ") for line in lines)
    assert all(len(line.rstrip()) <= 80 for line in lines)


def test_one_claim_is_shown_with_everything_that_speaks_for_and_against_it(data: Path) -> None:
    row = next(row for row in HERE.to_dicts() if row["findings"])
    printed = claims(data, str(row["claim_id"]))
    for words in (row["statement"], *row["controls_passed"], *row["controls_failed"], *row["findings"], row["policy"]):
        assert words in printed
    shown = json.loads(claims(data, str(row["claim_id"]), "--json"))
    assert {name: shown[name] for name in row} == row
    done = CliRunner().invoke(main, ["--study", str(TINY), "--data", str(data), "claims", "77"])
    assert done.exit_code == 1
    assert "There is no claim 77" in done.output


@pytest.mark.slow
def test_a_claim_about_a_category_has_the_texts_of_its_latents(finished_study: Path) -> None:
    stored = read_table(Storage(finished_study, "tiny").study_table("claims"), CLAIMS)
    of_category = stored.filter(*(pl.col(name).is_not_null() for name in ("model", "category", "step", "layer")))
    number = of_category["claim_id"][0]
    latents = json.loads(run_emergence(finished_study, "claims", str(number), "--json").stdout)["latents"]
    assert latents
    printed = run_emergence(finished_study, "claims", str(number)).stdout
    for latent in latents:
        assert f"best latent {latent['latent']} of SAE seed {latent['seed']}: {latent['name']}" in printed
        assert len(latent["texts"]) <= 5
        assert any("[" in text for text in latent["texts"])


def test_the_run_with_another_seed_stands_beside(data: Path) -> None:
    printed = claims(data, "--against", "2")
    for words in ("seed 2", "B, elsewhere", "not stated", "by chance"):
        assert words in printed
    rows = json.loads(claims(data, "--against", "2", "--json"))
    assert [row["holds"] for row in rows] == [True, True, False, None, True, False, False]


def test_a_run_that_is_not_there_is_named_with_the_command_that_makes_it(data: Path) -> None:
    done = CliRunner().invoke(main, ["--study", str(TINY), "--data", str(data), "claims", "--against", "3"])
    assert done.exit_code == 1
    assert "tiny-seed3" in done.output
    assert "emergence --seed 3 run" in done.output
