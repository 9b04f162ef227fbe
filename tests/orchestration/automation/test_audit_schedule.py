"""The nightly audit passes after a run, fails for an asset with an altered file, and passes when it is made again."""

from pathlib import Path

import dagster as dg
import pytest

from emergence_assets.orchestration.assets.checks import AS_WRITTEN
from emergence_assets.orchestration.automation.schedules import nightly_schedules
from emergence_assets.study.load import load_study
from resources.files.storage import Storage
from tests.audit.tampering import flip
from tests.conftest import TINY, copied, run_emergence

pytestmark = [pytest.mark.slow, pytest.mark.long]


def red(instance: dg.DagsterInstance) -> list[str]:
    """Assets whose latest evaluation of the check failed."""
    found = []
    for key in instance.all_asset_keys():
        records = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(key, AS_WRITTEN), 1)
        assert records, f"{key} was never checked"
        found += [] if records[0].status.value == "SUCCEEDED" else [key.to_user_string()]
    return found


def night(data: Path, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    study = load_study(str(TINY))
    _, audit = nightly_schedules(study, Storage(data, study.name))
    return audit.job.execute_in_process(instance=instance, raise_on_error=False)


def test_the_check_fails_for_an_altered_file_and_passes_again(
    finished_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = copied(finished_study, tmp_path / "data")
    monkeypatch.setenv("DAGSTER_HOME", str(data / "dagster"))
    claims = data / "tiny/tables/claims.parquet"
    with dg.DagsterInstance.get() as instance:
        assert red(instance) == []
        n_partitions = len(instance.get_dynamic_partitions("tiny/gloss-tiny/steps"))
        assert night(data, instance).success
        flip(claims, 100)
        result = night(data, instance)
        assert not result.success
        (failure,) = [event for event in result.all_events if event.is_step_failure]
        assert "1 altered" in str(failure.step_failure_data)
        assert red(instance) == ["tiny/claims"]
        observed = instance.fetch_observations(dg.AssetKey(["tiny", "claims"]), limit=1).records[0]
        assert observed.asset_observation is not None
        assert observed.asset_observation.metadata["audit"].value == "altered"
        assert len(instance.get_dynamic_partitions("tiny/gloss-tiny/steps")) == n_partitions
    claims.unlink()
    assert run_emergence(data, "run").returncode == 0
    with dg.DagsterInstance.get() as instance:
        assert red(instance) == []
        assert night(data, instance).success
