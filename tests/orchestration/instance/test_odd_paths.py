"""Databases are made in the home of the instance whatever its path, or the path is refused."""

from pathlib import Path

import pytest

from emergence_assets.orchestration.instance.home import instance_of
from resources.errors import EmergenceError

ODD = "a #%zz'\"[ab]*é&+:@\\;={x}$HOME!"


def test_all_databases_are_made_below_the_home(tmp_path: Path) -> None:
    home = tmp_path / ODD / "dagster"
    with instance_of(home) as instance:
        instance.get_runs()
        instance.all_instigator_state()
        instance.add_dynamic_partitions("steps", ["1"])
    assert {path.name for path in home.rglob("*.db")} >= {"index.db", "runs.db", "schedules.db"}
    assert [path.name for path in tmp_path.iterdir()] == [ODD]
    assert [path.name for path in (tmp_path / ODD).iterdir()] == ["dagster"]


@pytest.mark.parametrize("name", ["?", "x?y=1", "%41", "%3f"])
def test_a_path_that_is_another_address_is_refused_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    home = tmp_path / f"a{name}b" / "dagster"
    with pytest.raises(EmergenceError, match="instead of its home") as caught, instance_of(home):
        pass
    assert caught.value.where == str(home)
    assert "DAGSTER_HOME" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []
