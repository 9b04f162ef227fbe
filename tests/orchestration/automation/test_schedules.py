"""The nightly verification of pins: moved revisions are named, the others pass, and nothing is recomputed."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from emergence_assets.checkpoints.listing import pin_new_models, refresh_timeline
from emergence_assets.orchestration.automation.schedules import nightly_schedules
from emergence_assets.study.load import load_study
from emergence_assets.study.study import Study
from resources.files.storage import Storage
from tests.family import step_folder
from tests.hub.server import HubServer
from tests.studies.published_study import hub_family, write_study

MODEL = "gloss-tiny"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, family: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("EMERGENCE_HUB_PATIENCE", "0")
        for step in (0, 8):
            server.add_revision(f"project/{MODEL}", f"step{step}", step_folder(family, MODEL, step))
        yield server


@pytest.fixture
def study(tmp_path: Path) -> Study:
    models = {MODEL: {"d_model": 16, "n_layers": 2}}
    return load_study(str(write_study(tmp_path / "nightly.yaml", hub_family(models=models))))


def night(study: Study, storage: Storage, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    pins, _ = nightly_schedules(study, storage)
    return pins.job.execute_in_process(instance=instance, raise_on_error=False)


def test_a_quiet_night_passes_and_a_moved_branch_is_named(
    hub: HubServer, study: Study, family: Path, tmp_path: Path
) -> None:
    storage = Storage(tmp_path / "data", study.name)
    pin_new_models(study, storage)
    with dg.DagsterInstance.ephemeral() as instance:
        assert night(study, storage, instance).success
        hub.move_branch(f"project/{MODEL}", "step8", step_folder(family, MODEL, 16))
        result = night(study, storage, instance)
        assert not result.success
        (failure,) = [event for event in result.all_events if event.is_step_failure]
        assert "1 checkpoints changed at their source" in str(failure.step_failure_data)
        key = dg.AssetKey([study.name, MODEL, "checkpoint_registry"])
        observations = instance.fetch_observations(key, limit=10).records
        counts = [record.asset_observation.metadata["n_changed"].value for record in observations]  # newest first
        assert counts == [1, 0]
        assert not instance.fetch_materializations(key, limit=1).records
    axis = refresh_timeline(study, storage, MODEL)
    assert [bool(entry.upstream) for entry in axis.entries] == [False, True]


def test_an_unavailable_hub_fails_the_nightly_job_and_keeps_its_notes(
    hub: HubServer, study: Study, tmp_path: Path
) -> None:
    storage = Storage(tmp_path / "data", study.name)
    pin_new_models(study, storage)
    before = refresh_timeline(study, storage, MODEL)
    hub.unreachable()
    with dg.DagsterInstance.ephemeral() as instance:
        result = night(study, storage, instance)
    assert not result.success
    assert refresh_timeline(study, storage, MODEL) == before


@pytest.mark.parametrize("automation", [False, True])
def test_the_schedule_is_off_until_it_is_switched_on(study: Study, tmp_path: Path, automation: bool) -> None:
    switched = study.model_copy(update={"automation": automation})
    schedules = nightly_schedules(switched, Storage(tmp_path, study.name))
    assert [schedule.job.name for schedule in schedules] == ["verify_pins", "audit"]
    assert {schedule.default_status.name for schedule in schedules} == {"RUNNING" if automation else "STOPPED"}
