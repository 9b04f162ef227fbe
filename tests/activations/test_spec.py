"""A checkpoint has one forward pass, for every selection of its layers."""

import json
from pathlib import Path

import pytest

from emergence_assets.activations.forward.worker import capture_layers
from emergence_assets.activations.spec import ACTIVATIONS
from emergence_assets.pipeline import SPECS
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.study.load import parse_study
from resources.files.plain_yaml import read_yaml
from resources.files.storage import Storage
from tests.conftest import TINY, copied

pytestmark = pytest.mark.slow


def quiet(_done: int, _total: int, _note: str = "") -> None:
    return None


def test_a_selection_of_one_layer_makes_all_that_are_missing_once(finished_study: Path, tmp_path: Path) -> None:
    copied(finished_study, tmp_path / "data")
    study = parse_study(read_yaml(TINY))
    storage = Storage(tmp_path / "data", study.name)
    cells = [Cell("gloss-tiny", 3, layer) for layer in (0, 1)]
    paths = [ACTIVATIONS.path(storage, cell) for cell in cells]
    for path in paths:
        path.unlink()
    plan = Plan(study, storage, SPECS)
    (job,) = ACTIVATIONS.jobs(plan, [(cells[0], plan.demand_inputs(ACTIVATIONS, cells[0]))])
    assert job.cells == (cells[0],)
    assert set(job.arguments["layers"]) == {"0", "1"}
    capture_layers(**job.arguments, report=quiet)
    assert all(path.exists() for path in paths)

    before = [path.stat().st_mtime_ns for path in paths]
    capture_layers(**job.arguments, report=quiet)  # as in a second run that waited for the lock
    assert [path.stat().st_mtime_ns for path in paths] == before
    again = Plan(study, storage, SPECS)
    assert all(again.state(ACTIVATIONS, cell).state == "done" for cell in cells)
    assert json.loads(job.arguments["required"]["0"])[0] == "activations"
