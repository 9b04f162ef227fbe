"""The recipe for a table in docs/extending.md works, and makes no other result stale."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import TINY, copied

ROOT = Path(__file__).parents[1]
RECIPE = re.findall(
    r"```python\n# (emergence_assets/\S+\.py)\n(.*?)```", (ROOT / "docs/extending.md").read_text("utf-8"), re.DOTALL
)


def extended(folder: Path) -> Path:
    """A copy of the project with the table of the recipe."""
    for package in ("emergence_assets", "resources"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in RECIPE:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    specs = folder / "emergence_assets/emergence/specs.py"
    imported = "from emergence_assets.emergence.largest_rise.spec import LARGEST_RISE\n"
    listed = specs.read_text("utf-8").replace(
        "    EMERGENCE_OVER_TIME,\n", "    EMERGENCE_OVER_TIME,\n    LARGEST_RISE,\n"
    )
    specs.write_text(listed.replace("from emergence", imported + "from emergence", 1), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_table_is_a_folder_and_a_line(finished_study: Path, tmp_path: Path) -> None:
    assert [Path(name).name for name, _ in RECIPE] == ["table.py", "rows.py", "spec.py"]
    project, data = extended(tmp_path / "project"), copied(finished_study, tmp_path / "data")

    def emergence(*arguments: str) -> str:
        command = [sys.executable, "-m", "emergence_assets.cli.main", "--study", str(TINY), "--data", str(data)]
        finished = subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=project,
            env=os.environ | {"PYTHONPATH": str(project)},
            timeout=600,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    made = {name: n for name, n in json.loads(emergence("run", "--json"))["made"].items() if n}
    assert made == {"largest_rise": 2}
    found = pl.read_parquet(data / "tiny/tables/largest_rise/*.parquet")
    assert sorted(found["model"].unique()) == ["gloss-tinier", "gloss-tiny"]
    (status,) = [entry for entry in json.loads(emergence("status", "--json")) if entry["asset"] == "largest_rise"]
    assert (status["done"], status["total"]) == (2, 2)
