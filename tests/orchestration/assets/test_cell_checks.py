"""Check evaluations of cells in the event log: those of cells that fail, and of cells that failed before."""

import contextlib
import shutil
from pathlib import Path

import dagster as dg
import pytest

from emergence_assets.activations.spec import ACTIVATIONS
from emergence_assets.orchestration.build import build_definitions
from emergence_assets.orchestration.instance.home import instance_of
from emergence_assets.orchestration.instance.partitions import asset_key
from emergence_assets.orchestration.runs.batch import Outcome, run_batch
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.listeners import Stopwatch
from emergence_assets.plan.plan import Plan
from resources.compute.local_processes import LocalProcesses
from resources.errors import EmergenceError
from resources.files.storage import Storage
from tests.activations.test_check_frame import MODEL, STUDY, repeat_rows
from tests.conftest import copied

BROKEN = Cell(MODEL, 1, 0)
CHECK = dg.AssetCheckKey(asset_key(STUDY, MODEL, ACTIVATIONS.name), "rows_differ")


@pytest.mark.slow
def test_only_cells_that_fail_or_failed_before_have_evaluations_of_their_own(
    finished_study: Path, tmp_path: Path
) -> None:
    data = copied(finished_study, tmp_path / "data")
    storage = Storage(data, STUDY.name)

    with instance_of(data / "dagster") as instance, LocalProcesses(1) as workers:

        def evaluations() -> list[tuple[str | None, str]]:
            """Materialise the finished cells again; return partition and status of each evaluation of the run."""
            plan = Plan(STUDY, storage, specs_for(STUDY))
            definitions = build_definitions(STUDY, storage, plan, workers, Stopwatch())
            batch = [(ACTIVATIONS, plan.cells(ACTIVATIONS, MODEL))]
            with contextlib.suppress(EmergenceError):
                run_batch(STUDY, definitions, batch, instance, Outcome(), force=False)
            history = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=50)
            return [(record.partition, record.status.value) for record in history if record.run_id == history[0].run_id]

        assert evaluations() == [(None, "SUCCEEDED")]
        path = ACTIVATIONS.path(storage, BROKEN)
        repeat_rows(lambda cell: ACTIVATIONS.path(storage, cell))
        assert set(evaluations()) == {("L00|step000001", "FAILED"), (None, "FAILED")}
        shutil.copyfile(ACTIVATIONS.path(Storage(finished_study, STUDY.name), BROKEN), path)
        assert set(evaluations()) == {("L00|step000001", "SUCCEEDED"), (None, "SUCCEEDED")}
        assert evaluations() == [(None, "SUCCEEDED")]
