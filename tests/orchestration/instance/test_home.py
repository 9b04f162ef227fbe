"""The Dagster instance: its home folder, and runs whose process died."""

import os
from pathlib import Path

import pytest
import yaml

import emergence_assets.orchestration.instance.home
from emergence_assets.orchestration.instance.home import instance_of, prepare_home
from resources.errors import EmergenceError
from resources.files import mounts

OURS = Path(emergence_assets.orchestration.instance.home.__file__).with_name("dagster.yaml")


@pytest.fixture(autouse=True)
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set before it is deleted, so that the changes of `prepare_home` are undone too.
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("DAGSTER_HOME")


def test_without_a_home_of_the_users_own_it_lies_in_the_data_with_our_settings(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "data")
    assert home == tmp_path / "data" / "dagster"
    assert os.environ["DAGSTER_HOME"] == str(home)
    assert (home / "dagster.yaml").read_bytes() == OURS.read_bytes()


def test_the_users_own_home_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "own"))
    assert prepare_home(tmp_path / "data") == tmp_path / "own"
    assert not (tmp_path / "data").exists()


def test_the_users_own_settings_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    prepare_home(tmp_path / "data")
    prepare_home(tmp_path / "data")
    assert (tmp_path / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_a_home_that_is_not_absolute_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "relative/home")
    with pytest.raises(EmergenceError, match="'relative/home', which is not absolute") as caught:
        prepare_home(tmp_path)
    assert "absolute path" in caught.value.remedy


def test_a_home_that_cannot_be_written_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(EmergenceError, match="cannot be written"):
        prepare_home(tmp_path)


def test_our_settings_are_accepted_by_dagster_and_send_no_telemetry(tmp_path: Path) -> None:
    home = prepare_home(tmp_path)
    with instance_of(home) as instance:
        assert not instance.telemetry_enabled
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
    assert yaml.safe_load(OURS.read_text())["telemetry"] == {"enabled": False}


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        (None, True),
        ("telemetry: {enabled: false}\n", True),
        ("storage: {sqlite: {base_dir: /x}}\n", True),
        ("storage: {postgres: {postgres_url: {env: URL}}}\n", False),
    ],
)
def test_sqlite_on_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str | None, refused: bool
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {tmp_path}/shared rw - nfs4 server:/x rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", table)
    if settings is not None:
        (tmp_path / "shared/data/dagster").mkdir(parents=True)
        (tmp_path / "shared/data/dagster/dagster.yaml").write_text(settings)
    if not refused:
        prepare_home(tmp_path / "shared/data")
        return
    with pytest.raises(EmergenceError, match=r"network file system \(nfs4\)") as caught:
        prepare_home(tmp_path / "shared/data")
    assert "DAGSTER_HOME" in caught.value.remedy
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "local"))
    prepare_home(tmp_path / "shared/data")
