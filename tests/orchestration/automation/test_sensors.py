"""Results of one tick over a source: runs, partitions or nothing; with real folders, a real hub, real measurements."""

import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest

from emergence_assets.checkpoints import inspection
from emergence_assets.checkpoints import spec as cells
from emergence_assets.checkpoints.identity import worker
from emergence_assets.checkpoints.listing import forget_lost, refresh_timeline
from emergence_assets.checkpoints.spec import CHECKPOINT, CHECKPOINT_REGISTRY
from emergence_assets.orchestration.automation.cursor import LONGEST_PAUSE_SECONDS, Cursor, pause_seconds
from emergence_assets.orchestration.automation.sensors import (
    GRACE_TICKS,
    MOST_PER_TICK,
    arrival_sensors,
    look_for_checkpoints,
)
from emergence_assets.orchestration.instance.partitions import asset_key, step_set_name
from emergence_assets.pipeline import SPECS, specs_for
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.timeline import read_timeline
from emergence_assets.study.load import parse_study
from emergence_assets.study.study import Study
from resources.files.plain_yaml import read_yaml
from resources.files.storage import Storage
from tests.conftest import TINY
from tests.family import MODELS, duplicate_step, missing_file, step_folder
from tests.hub.server import HubServer
from tests.studies.published_study import SMALL, hub_family, local_family

MODEL = "gloss-tiny"
NOW = 1_800_000_000.0
GRACE_SECONDS = 30.0 * GRACE_TICKS
ONLY_CHECKPOINTS = (CHECKPOINT, CHECKPOINT_REGISTRY)


def study_of(source: dict[str, Any], **study: Any) -> Study:
    shapes = {name: {"d_model": shape.d_model, "n_layers": shape.n_layers} for name, shape in MODELS.items()}
    declared = {"models": shapes, "tokens_per_step": 64, "context": 32} | source
    return parse_study({"name": "arriving", "family": declared, "steps": "all"} | SMALL | study)


class Tick(NamedTuple):
    """Results of one tick."""

    steps: list[int]
    """Checkpoints of the launched runs."""
    tables: list[str]
    """Tables of the launched runs."""
    said: str
    """Message in the log of the sensor."""


class Watch:
    """A sensor as Dagster drives it: it keeps the cursor, the partitions, and the keys of launched runs."""

    def __init__(self, study: Study, storage: Storage, instance: dg.DagsterInstance):
        self.study, self.storage, self.instance = study, storage, instance
        self.cursor: str | None = None
        self.keys: set[str] = set()

    def tick(self, now: float = NOW) -> Tick:
        """Run one tick; run keys that were used are not launched again."""
        result = look_for_checkpoints(
            self.study, self.storage, ONLY_CHECKPOINTS, MODEL, self.instance, self.cursor, now
        )
        for request in result.dynamic_partitions_requests or []:
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                self.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
            else:
                for key in request.partition_keys:
                    self.instance.delete_dynamic_partition(request.partitions_def_name, key)
        self.cursor = result.cursor
        new = [request for request in result.run_requests or [] if request.run_key not in self.keys]
        self.keys |= {str(request.run_key) for request in new}
        steps = [int(str(request.partition_key).removeprefix("step")) for request in new if request.partition_key]
        assets = [request.asset_selection[0].path[-1] for request in new if request.asset_selection]
        reason = result.skip_reason
        said = reason.skip_message if isinstance(reason, dg.SkipReason) else None
        return Tick(steps, [name for name in assets if name != "checkpoint"], said or "")

    @property
    def partitions(self) -> list[int]:
        names = self.instance.get_dynamic_partitions(step_set_name(self.study, MODEL))
        return [int(name.removeprefix("step")) for name in names]

    def run(self, steps: Sequence[int]) -> None:
        """Do the work of the runs: measure, validate, register usable steps, remove the partitions of all others."""
        run_checkpoints(self.study, self.storage, steps)
        axis = refresh_timeline(self.study, self.storage, MODEL)
        for entry in axis.left_out:
            name = f"step{entry.step:06d}"
            if name in self.instance.get_dynamic_partitions(step_set_name(self.study, MODEL)):
                self.instance.delete_dynamic_partition(step_set_name(self.study, MODEL), name)


def nothing(*_: object) -> None:
    """Ignore progress."""


def run_checkpoints(study: Study, storage: Storage, steps: Sequence[int]) -> None:
    refresh_timeline(study, storage, MODEL)
    wanted = [Cell(MODEL, step) for step in steps]
    for task in inspection.measurement_tasks(study, storage, wanted):
        worker.measure(**task.arguments, report=nothing)
    axis = refresh_timeline(study, storage, MODEL)
    plan = Plan(study, storage, ONLY_CHECKPOINTS)
    due = [(cell, plan.demand_inputs(CHECKPOINT, cell)) for cell in wanted if cell.step in axis.steps()]
    for job in cells.CHECKPOINT.jobs(plan, due):
        worker.register(**job.arguments, report=nothing)


def write_registry(study: Study, storage: Storage) -> None:
    plan = Plan(study, storage, ONLY_CHECKPOINTS)
    cell = Cell(MODEL)
    for job in cells.CHECKPOINT_REGISTRY.jobs(plan, [(cell, plan.demand_inputs(CHECKPOINT_REGISTRY, cell))]):
        worker.write_registry(**job.arguments, report=nothing)


def deliver(family: Path, root: Path, *steps: int) -> None:
    for step in steps:
        shutil.copytree(step_folder(family, MODEL, step), step_folder(root, MODEL, step))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as temporary:
        yield temporary


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folder that receives checkpoints."""
    (tmp_path / "incoming" / MODEL).mkdir(parents=True)
    return tmp_path / "incoming"


@pytest.fixture
def watch(root: Path, tmp_path: Path, instance: dg.DagsterInstance) -> Watch:
    return Watch(study_of(local_family(root)), Storage(tmp_path / "data", "arriving"), instance)


def test_a_checkpoint_is_handed_over_once(watch: Watch, family: Path, root: Path) -> None:
    assert watch.tick().steps == []
    deliver(family, root, 4, 0)
    assert watch.tick() == ([0, 4], [], "")
    assert watch.partitions == [0, 4]
    assert watch.tick().steps == []
    watch.run([0, 4])
    assert watch.tick().steps == []


def test_a_tick_that_dagster_repeats_launches_nothing_twice(watch: Watch, family: Path, root: Path) -> None:
    deliver(family, root, 0)
    assert watch.tick().steps == [0]
    watch.cursor = None  # killed before it was stored
    assert watch.tick().steps == []


def test_a_lost_cursor_requests_no_finished_work(watch: Watch, family: Path, root: Path) -> None:
    deliver(family, root, 0, 1)
    watch.tick()
    watch.run([0, 1])
    for text in (None, "", "{", '{"version": 2}', "[" * 10_000, '{"requested": {"x": 1}}'):
        watch.cursor, watch.keys = text, set()
        assert watch.tick().steps == []


def test_many_checkpoints_are_worked_off_in_order(watch: Watch, family: Path, root: Path) -> None:
    for step in range(MOST_PER_TICK + 3):
        shutil.copytree(step_folder(family, MODEL, 0), step_folder(root, MODEL, step))
    assert watch.tick().steps == list(range(MOST_PER_TICK))
    assert watch.tick().steps == [MOST_PER_TICK, MOST_PER_TICK + 1, MOST_PER_TICK + 2]
    assert watch.partitions == list(range(MOST_PER_TICK + 3))


def test_an_incomplete_checkpoint_waits(watch: Watch, family: Path, root: Path) -> None:
    deliver(family, root, 0)
    missing_file(root, MODEL, 0, "tokenizer.json")
    assert watch.tick().steps == []
    assert watch.partitions == []
    shutil.copy(step_folder(family, MODEL, 0) / "tokenizer.json", step_folder(root, MODEL, 0))
    assert watch.tick().steps == [0]


def test_the_same_content_delivered_again_changes_no_fingerprint(watch: Watch, family: Path, root: Path) -> None:
    deliver(family, root, 0)
    watch.tick()
    watch.run([0])
    before = Plan(watch.study, watch.storage, ONLY_CHECKPOINTS).required(CHECKPOINT, Cell(MODEL, 0))
    shutil.rmtree(step_folder(root, MODEL, 0))
    deliver(family, root, 0)
    assert watch.tick().steps == [0]
    watch.run([0])
    plan = Plan(watch.study, watch.storage, ONLY_CHECKPOINTS)
    assert plan.required(CHECKPOINT, Cell(MODEL, 0)) == before
    assert watch.tick().steps == []


def test_a_duplicate_loses_its_partition_and_the_registry_is_requested_once(
    watch: Watch, family: Path, root: Path
) -> None:
    deliver(family, root, 0, 1, 2, 4)
    watch.tick()
    watch.run([0, 1, 2, 4])
    write_registry(watch.study, watch.storage)
    assert watch.tick().tables == []
    deliver(family, root, 8, 16)
    duplicate_step(root, MODEL, 2, 16)
    assert watch.tick().steps == [8, 16]
    assert watch.tick().tables == [], "nothing is asked for while a checkpoint waits to be looked at"
    watch.run([8, 16])
    assert watch.partitions == [0, 1, 2, 4, 8]
    assert watch.tick().tables == [], "what follows from assets is given its time"
    assert watch.tick(NOW + GRACE_SECONDS - 1).tables == []
    assert watch.tick(NOW + GRACE_SECONDS).tables == ["checkpoint_registry"]
    write_registry(watch.study, watch.storage)
    assert watch.tick().tables == []
    assert watch.tick().tables == []


def test_a_table_in_progress_is_not_requested(watch: Watch, family: Path, root: Path) -> None:
    deliver(family, root, 0)
    watch.tick()
    watch.run([0])
    watch.tick()
    key = asset_key(watch.study, MODEL, "checkpoint_registry")
    run = watch.instance.add_run(
        dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset({key}))
    )
    assert watch.tick(NOW + GRACE_SECONDS).tables == []
    watch.instance.report_run_failed(run)
    assert watch.tick(NOW + GRACE_SECONDS).tables == ["checkpoint_registry"]


def test_an_admitted_checkpoint_comes_back(watch: Watch, family: Path, root: Path) -> None:
    deliver(family, root, 0, 1, 2, 4)
    duplicate_step(root, MODEL, 4, 1)
    watch.tick()
    watch.run([0, 1, 2, 4])
    assert watch.partitions == [0, 2, 4]
    watch.study = study_of(local_family(root), admit=[f"{MODEL}/step1"])
    assert watch.tick().steps == [1]
    watch.run([1])
    assert sorted(watch.partitions) == [0, 1, 2, 4]
    assert watch.tick().steps == []
    watch.study = study_of(local_family(root))  # and is left out again when the study no longer admits it
    watch.tick()
    assert watch.partitions == [0, 2, 4]


def test_a_checkpoint_that_is_gone_keeps_its_partition_until_it_is_forgotten(
    watch: Watch, family: Path, root: Path
) -> None:
    deliver(family, root, 0, 1)
    watch.tick()
    watch.run([0, 1])
    shutil.rmtree(step_folder(root, MODEL, 1))
    watch.tick()
    assert watch.partitions == [0, 1]
    forget_lost(watch.study, watch.storage, [MODEL])
    watch.tick()
    assert watch.partitions == [0]


def test_a_run_that_came_to_nothing_is_started_again_with_growing_pauses(
    watch: Watch, family: Path, root: Path
) -> None:
    deliver(family, root, 0)
    moments, now = [], NOW
    while len(moments) < 4:
        if watch.tick(now).steps:
            moments.append(now)
        now += 30
    waits = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert waits == [pause_seconds(n) for n in (1, 2, 3)] == [60, 120, 240]
    key = asset_key(watch.study, MODEL, "checkpoint")
    watch.instance.add_run(
        dg.DagsterRun(
            job_name="job",
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset({key}),
            tags={"dagster/partition": "step000000"},
        )
    )
    assert watch.tick(now + LONGEST_PAUSE_SECONDS).steps == [], "one that still works is not started again"


def test_an_unavailable_source_is_reported_once_and_polled_less_and_less_often(
    watch: Watch, family: Path, root: Path
) -> None:
    root.rename(root.with_name("away"))
    said, asked, now = [], [], NOW
    for _ in range(400):
        before = Cursor.from_json(watch.cursor).n_failures
        message = watch.tick(now).said
        said += [message] if message else []
        if Cursor.from_json(watch.cursor).n_failures > before:
            asked.append(now)
        now += 30
    assert len(said) == 1
    assert "folder of the family does not exist" in said[0]
    waits = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (60, LONGEST_PAUSE_SECONDS)
    root.with_name("away").rename(root)
    deliver(family, root, 0)
    assert watch.tick(now + LONGEST_PAUSE_SECONDS).steps == [0]
    assert Cursor.from_json(watch.cursor).n_failures == 0


def test_new_branches_of_a_hub_are_pinned_and_handed_over(
    family: Path, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HubServer() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setattr("emergence_assets.orchestration.automation.sensors.RETRY_SECONDS", 0.0)
        hub.add_revision(f"project/{MODEL}", "step0", step_folder(family, MODEL, 0))
        watch = Watch(study_of(hub_family()), Storage(tmp_path / "data", "arriving"), instance)
        assert watch.tick().steps == [0]
        hub.add_revision(f"project/{MODEL}", "step1", step_folder(family, MODEL, 1))
        hub.reset_log()
        assert watch.tick().steps == [1]
        assert len(hub.requests) == 2, "the branches, and the files of the new one"
        assert hub.bytes_sent() == 0
        hub.unreachable()
        watch.tick()
        assert Cursor.from_json(watch.cursor).n_failures == 1
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert watch.tick(NOW + LONGEST_PAUSE_SECONDS).steps == [0, 1], (
            "what is pinned and was not looked at for an hour"
        )
        assert Cursor.from_json(watch.cursor).n_failures == 0


def test_a_moved_branch_is_recorded_in_the_registry_and_recomputes_no_checkpoint(
    family: Path, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emergence_assets.checkpoints.listing import verify_pins

    with HubServer() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        hub.add_revision(f"project/{MODEL}", "step0", step_folder(family, MODEL, 0))
        watch = Watch(study_of(hub_family()), Storage(tmp_path / "data", "arriving"), instance)
        watch.tick()
        watch.run([0])
        write_registry(watch.study, watch.storage)
        watch.tick()
        hub.move_branch(f"project/{MODEL}", "step0", step_folder(family, MODEL, 1))
        (moved,) = verify_pins(watch.study, watch.storage, MODEL)
        assert "moved upstream" in moved.upstream
        moments = (NOW, NOW + GRACE_SECONDS, NOW + 2 * GRACE_SECONDS)
        assert [watch.tick(now).tables for now in moments] == [[], ["checkpoint_registry"], []]
        axis = read_timeline(watch.storage.timeline(MODEL))
        assert axis is not None
        assert axis.steps() == [0]


def test_there_is_a_sensor_per_model_and_none_for_what_is_trained_here(tmp_path: Path) -> None:
    storage = Storage(tmp_path, "arriving")
    tiny = parse_study(read_yaml(TINY))
    assert arrival_sensors(tiny, storage, SPECS) == []
    for automation, status in ((False, dg.DefaultSensorStatus.STOPPED), (True, dg.DefaultSensorStatus.RUNNING)):
        study = study_of(local_family(tmp_path), automation=automation)
        sensors = arrival_sensors(study, storage, specs_for(study))
        assert [sensor.name for sensor in sensors] == ["new_checkpoints__gloss_tiny", "new_checkpoints__gloss_tinier"]
        assert {sensor.default_status for sensor in sensors} == {status}


def test_a_checkpoint_registered_by_another_process_is_not_requested(watch: Watch, family: Path, root: Path) -> None:
    deliver(family, root, 0)
    run_checkpoints(watch.study, watch.storage, [0])
    watch.instance.add_dynamic_partitions(step_set_name(watch.study, MODEL), ["step000000"])
    assert watch.tick().steps == []


def test_touching_a_file_is_a_new_delivery(watch: Watch, family: Path, root: Path) -> None:
    deliver(family, root, 0)
    watch.tick()
    os.utime(step_folder(root, MODEL, 0) / "config.json", (1, 1))
    assert watch.tick().steps == [0]
