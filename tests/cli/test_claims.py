"""`emergence claims` on existing tables, also beside the run with another seed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from emergence_assets.cli.main import main
from emergence_assets.emergence.claims.table import CLAIMS
from resources.files.storage import Storage
from resources.tables.parquet import write_table
from tests.conftest import TINY
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
    assert "claims/1" in printed
    assert "emergence of shrub" not in printed  # rejected
    assert "emergence of shrub" in claims(data, "--all")
    assert "A: 1, B: 5, C: 0, reject: 1" in printed
    assert "no effect of word order" in printed
    assert [row["claim_id"] for row in json.loads(claims(data, "--json", "--grade", "A"))] == [2]


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
