"""A study goes on without the model that has no checkpoint yet, and keeps the steps whose files are gone."""

import shutil
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from emergence_assets.orchestration.build import build_definitions
from emergence_assets.orchestration.instance.home import instance_of
from emergence_assets.study.load import load_study
from resources.files.storage import Storage, instance_home
from tests.conftest import run_emergence, status_of
from tests.family import step_folder
from tests.studies.published_study import local_family, write_study

MODEL, LATER = "gloss-tiny", "gloss-tinier"


def tables(data: Path) -> dict[str, pl.DataFrame]:
    """Return all tables but the registry, whose rows name what became of the files."""
    root = data / "family" / "tables"
    paths = [path for path in root.rglob("*.parquet") if "checkpoint_registry" not in str(path)]
    # Without the identities of what the rows are made from.
    return {str(path.relative_to(root)): pl.read_parquet(path).drop("inputs", strict=False) for path in paths}


def steps_of(data: Path) -> list[int]:
    """Return the steps in a table that the claims are made from."""
    path = data / "family" / "tables" / "category_presence" / f"model={MODEL}.parquet"
    return pl.read_parquet(path)["step"].unique().sort().to_list()


@pytest.mark.slow
@pytest.mark.long
def test_models_that_wait_and_files_that_are_gone_take_no_result_with_them(family: Path, tmp_path: Path) -> None:
    runs, data = tmp_path / "runs", tmp_path / "data"
    for step in (0, 8, 64):
        shutil.copytree(step_folder(family, MODEL, step), step_folder(runs, MODEL, step))
    (runs / LATER / "checkpoint-10").mkdir(parents=True)
    declared = write_study(tmp_path / "family.yaml", local_family(runs))
    listed = run_emergence(data, "checkpoints", study=declared)
    assert listed.returncode == 1
    assert "has no folder 'step{step}'; its folders are checkpoint-10" in listed.stdout.replace("\n", " ")
    done = run_emergence(data, "run", study=declared)
    assert done.returncode == 0, done.stderr
    assert f"{LATER} has no checkpoint yet" in done.stdout
    assert steps_of(data) == [0, 8, 64]
    finished = tables(data)

    shutil.rmtree(step_folder(runs, MODEL, 8))
    again = run_emergence(data, "run", study=declared)
    assert again.returncode == 0, again.stderr
    assert "step 8 is ok: its folder is gone" in again.stdout
    now = tables(data)
    assert now.keys() == finished.keys()
    assert all(now[name].equals(table) for name, table in finished.items())
    refused = run_emergence(
        data, "run", study=write_study(declared, local_family(runs), activations={"training_texts": 500})
    )
    assert refused.returncode == 1
    assert "step 8 is gone, and something has to be made from it" in refused.stderr.replace("\n", " ")
    write_study(declared, local_family(runs))
    assert run_emergence(data, "checkpoints", "forget", study=declared).returncode == 0
    assert run_emergence(data, "run", study=declared).returncode == 0
    assert steps_of(data) == [0, 64]

    study, storage = load_study(str(declared)), Storage(data, "family")
    with instance_of(instance_home(data)) as instance:
        everything = [key for key in build_definitions(study, storage).resolve_all_asset_keys() if LATER in key.path]
        whole = [key for key in everything if key.path[-1] in ("category_presence", "emergence_over_time")]
        clicked = (
            build_definitions(study, storage)
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(instance=instance, asset_selection=[*whole, dg.AssetKey(["family", "claims"])])
        )
    assert clicked.success

    shutil.copytree(step_folder(family, LATER, 0), step_folder(runs, LATER, 0))
    shutil.copytree(step_folder(family, LATER, 64), step_folder(runs, LATER, 64))
    arrived = run_emergence(data, "run", "--stage", "checkpoints", "--stage", "activations", study=declared)
    assert arrived.returncode == 0, arrived.stderr
    status = status_of(data, declared)
    assert status["activations"]["done"] == 2 * 2 + 2  # two layers, and one of the model that waited
    assert status["category_presence"]["missing"] == 1
    assert status["claims"]["stale"] == 1
