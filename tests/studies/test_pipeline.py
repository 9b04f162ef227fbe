"""The whole pipeline on the tiny study, through the command line: computed, stored and refused results."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import h5py
import polars as pl
import pytest

from resources.files.run_lock import exclusive_run
from resources.files.storage import Storage
from tests.conftest import TINY, copied, run_emergence, status_of

pytestmark = pytest.mark.slow
N_CELLS = 4 * 2 + 4 * 1


@pytest.fixture
def study(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study that the test may break."""
    copied(finished_study, tmp_path / "data")
    return tmp_path / "data"


def activation_file(data: Path) -> Path:
    return data / "tiny/activations/model=gloss-tiny/step=000003/layer=001.h5"


def made(result: subprocess.CompletedProcess[str]) -> dict[str, int]:
    assert result.returncode == 0, result.stdout + result.stderr
    return {name: n for name, n in json.loads(result.stdout)["made"].items() if n}


def test_every_cell_of_a_finished_study_is_done(finished_study: Path) -> None:
    status = status_of(finished_study)
    assert all(entry["done"] == entry["total"] > 0 for entry in status.values()), status
    assert status["activations"]["done"] == status["sae"]["done"] == status["latent_stats"]["done"] == N_CELLS


def test_a_second_run_computes_nothing(study: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*.h5")}
    result = run_emergence(study, "run", "--json")
    assert made(result) == {}
    assert before == {path: path.stat().st_mtime_ns for path in study.rglob("*.h5")}


def test_deleting_one_layer_recomputes_it_and_its_dependants(study: Path) -> None:
    layer = activation_file(study)
    others = {path: path.stat().st_mtime_ns for path in (study / "tiny").rglob("layer=*") if path != layer}
    content = layer.read_bytes()
    layer.unlink()
    status = status_of(study)
    assert (status["activations"]["missing"], status["sae"]["stale"], status["checkpoint"]["stale"]) == (1, 1, 0)
    remade = made(run_emergence(study, "run", "--json"))
    assert {name: remade[name] for name in ("activations", "sae", "latent_stats")} == {
        "activations": 1,
        "sae": 1,
        "latent_stats": 1,
    }
    assert "checkpoint" not in remade
    assert remade["category_presence"] == 1
    touched = {path for path, when in others.items() if path.stat().st_mtime_ns != when}
    assert {(path.parent.name, path.stem) for path in touched} == {("step=000003", "layer=001")}
    with h5py.File(layer) as again:
        assert again["resid_post"].shape[1] == 16
    assert len(layer.read_bytes()) == len(content)


@pytest.mark.long
def test_a_table_in_parts_is_made_where_another_model_still_waits_for_its_input(study: Path) -> None:
    tables = study / "tiny/tables"
    (tables / "category_presence/model=gloss-tiny.parquet").unlink()
    for model in ("gloss-tinier", "gloss-tiny"):
        (tables / f"category_controls/model={model}.parquet").unlink()
    remade = made(run_emergence(study, "run", "--json"))
    assert (remade["category_presence"], remade["category_controls"]) == (1, 2)
    assert all(entry["done"] == entry["total"] for entry in status_of(study).values())


def test_events_have_data_versions_and_pointers_to_their_inputs(
    finished_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(finished_study / "dagster"))
    with dg.DagsterInstance.get() as instance:
        key = dg.AssetKey(["tiny", "gloss-tiny", "sae"])
        record = instance.get_latest_data_version_record(key, partition_key="L01|step000003")
        assert record is not None
        assert record.asset_materialization is not None
        tags = record.asset_materialization.tags or {}
        stored = json.loads(
            (finished_study / "tiny/saes/model=gloss-tiny/step=000003/layer=001/provenance.json").read_text()
        )
        assert tags["dagster/data_version"] == stored["fingerprint"]
        assert int(tags["dagster/input_event_pointer/tiny/gloss-tiny/activations"]) > 0
        checks = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(key, "sae_beats_mean_baseline"), limit=50
        )
        assert {check.status.value for check in checks} == {"SUCCEEDED"}


def test_a_new_instance_gets_the_events_without_computing(study: Path) -> None:
    shutil.rmtree(study / "dagster")
    result = run_emergence(study, "run", "--json")
    assert made(result) == {}
    with_events = study / "dagster" / "history"
    assert with_events.exists()
    assert "nothing to do" in result.stderr


def test_the_event_of_a_killed_run_is_written_by_the_next_run(study: Path) -> None:
    """The event is of the earlier version of the file; the file is complete, and nothing is recomputed for it."""
    index = study / "dagster" / "history" / "runs" / "index.db"
    cell = """SELECT id FROM event_logs WHERE asset_key LIKE '%gloss-tiny%"sae"]' AND partition = 'L00|step000000'"""
    tag = f"key = 'dagster/data_version' AND event_id IN ({cell})"
    with contextlib.closing(sqlite3.connect(index)) as database, database:
        ((fingerprint,),) = database.execute(f"SELECT value FROM asset_event_tags WHERE {tag}").fetchall()
        before = fingerprint[::-1]
        database.execute(f"UPDATE asset_event_tags SET value = ? WHERE {tag}", (before,))
        database.execute(
            f"UPDATE event_logs SET event = replace(event, ?, ?) WHERE id IN ({cell})", (fingerprint, before)
        )
    assert "forked" in run_emergence(study, "audit", "--verify").stdout
    assert made(run_emergence(study, "run", "--json")) == {}
    verified = run_emergence(study, "audit", "--verify")
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_activation_file_is_named_and_nothing_is_overwritten(study: Path, damage: str) -> None:
    layer = activation_file(study)
    content = bytearray(layer.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        with h5py.File(layer) as file:
            content[file["resid_post"].id.get_offset() + 1000] ^= 4
    layer.write_bytes(content)
    result = run_emergence(study, "run")
    assert result.returncode == 1
    assert str(layer) in result.stderr
    assert "what to do" in result.stderr
    assert "Traceback" not in result.stderr
    layer.unlink()  # what the message says; `run` then makes the layer again
    assert status_of(study)["activations"]["missing"] == 1


def test_an_altered_sae_is_named(study: Path) -> None:
    weights = study / "tiny/saes/model=gloss-tiny/step=000003/layer=001/seed=0/sae_weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    result = run_emergence(study, "run")
    assert result.returncode == 1
    assert "layer=001" in result.stderr


@pytest.mark.parametrize("damage", ["missing", "truncated", "config"])
def test_a_broken_checkpoint_is_named(study: Path, damage: str) -> None:
    folder = study / "tiny/checkpoints/gloss-tiny/step3"
    weights = folder / "model.safetensors"
    if damage == "missing":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        (folder / "config.json").write_text("{")
    result = run_emergence(study, "run")
    assert result.returncode == 1
    assert "step3" in result.stderr
    assert "what to do" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.long
def test_a_lost_checkpoint_is_trained_again_bit_for_bit(study: Path) -> None:
    folder = study / "tiny/checkpoints/gloss-tiny/step3"
    before = (folder / "model.safetensors").read_bytes()
    shutil.rmtree(folder)
    assert run_emergence(study, "run").returncode == 0
    assert (folder / "model.safetensors").read_bytes() == before


def test_two_runs_on_one_data_folder_do_not_meet(study: Path) -> None:
    with exclusive_run(Storage(study, "tiny").run_lock()):
        second = run_emergence(study, "run")
    assert second.returncode == 1
    assert f"Another run is working on this data: process {os.getpid()}" in second.stderr


def test_a_run_stopped_by_ctrl_c_keeps_what_is_finished_and_goes_on(study: Path) -> None:
    for stage in ("activations", "saes", "tables", "report"):
        shutil.rmtree(study / "tiny" / stage)
    command = [sys.executable, "-m", "emergence_assets.cli.main", "--study", str(TINY), "--data", str(study), "run"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0
    ) as first:
        deadline = time.monotonic() + 120
        while not list((study / "tiny").glob("saes/*/*/layer=*/provenance.json")):
            assert time.monotonic() < deadline
            assert first.poll() is None
            time.sleep(0.02)
        first.send_signal(signal.SIGINT)
        _, errors = first.communicate(timeout=60)
    assert first.returncode == 130, errors
    assert "continues from there" in errors
    finished = {path: path.stat().st_mtime_ns for path in (study / "tiny/activations").rglob("layer=*.h5")}
    assert len(finished) == N_CELLS
    again = run_emergence(study, "run", "--json")
    assert again.returncode == 0, again.stderr
    assert "activations" not in made(again)
    assert finished == {path: path.stat().st_mtime_ns for path in finished}
    assert not list((study / "tiny").rglob(".*.tmp"))
    assert all(entry["done"] == entry["total"] for entry in status_of(study).values())


def test_a_changed_setting_makes_exactly_its_dependants_stale(study: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.yaml"
    changed.write_text(TINY.read_text().replace("k: 2", "k: 3"))
    status = status_of(study, changed)
    assert status["sae"]["stale"] == status["latent_stats"]["stale"] == N_CELLS
    assert status["activations"]["done"] == N_CELLS
    assert any("sae.k was 2, is 3" in reason for reason in status["sae"]["reasons"])


def test_tables_have_the_declared_columns_and_both_controls(finished_study: Path) -> None:
    presence = pl.read_parquet(finished_study / "tiny/tables/category_presence/model=gloss-tiny.parquet")
    assert set(presence["control_id"]) == {"none", "label_shuffle", "random_encoder"}
    assert presence["p_step0"].null_count() == 0
    assert (
        presence.select("model", "step", "layer", "control_id", "category_level", "category").is_duplicated().sum() == 0
    )


def test_an_asset_job_of_the_ui_makes_the_chosen_partition(study: Path) -> None:
    layer = activation_file(study)
    layer.unlink()
    program = (
        "import dagster as dg\n"
        "from emergence_assets.definitions import defs\n"
        "from emergence_assets.orchestration.instance.partitions import partition_key\n"
        "from emergence_assets.plan.cell import Cell\n"
        "if __name__ == '__main__':\n"
        "    with dg.DagsterInstance.get() as instance:\n"
        "        result = defs.resolve_job_def('activations__gloss_tiny').execute_in_process(\n"
        "            instance=instance, partition_key=partition_key(Cell('gloss-tiny', 3, 1))\n"
        "        )\n"
        "        assert result.success\n"
    )
    script = study / "job.py"
    script.write_text(program)
    environment = {"EMERGENCE_STUDY": str(TINY), "EMERGENCE_DATA": str(study), "DAGSTER_HOME": str(study / "dagster")}
    command = [sys.executable, str(script)]
    finished = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert layer.exists()
    assert all(entry["done"] == entry["total"] for entry in status_of(study).values())
