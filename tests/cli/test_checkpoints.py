"""`emergence checkpoints`: its listing, findings and refusals."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import TINY, run_emergence
from tests.family import MODELS, STEPS, duplicate_step, missing_file, step_folder
from tests.hub.server import HubServer
from tests.studies.published_study import hub_family, local_family, write_study


@pytest.fixture
def root(family: Path, tmp_path: Path) -> Path:
    return shutil.copytree(family, tmp_path / "runs")


def test_a_folder_is_listed_before_anything_is_read(root: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path / "listed.yaml", local_family(root))
    missing_file(root, "gloss-tiny", 8, "config.json")
    listed = run_emergence(tmp_path, "checkpoints", "--json", study=study)
    assert listed.returncode == 0, listed.stderr
    rows = {(row["model"], row["step"]): row for row in json.loads(listed.stdout)["checkpoints"]}
    assert set(rows) == {(model, step) for model in MODELS for step in STEPS}
    assert rows["gloss-tiny", 8]["status"] == "missing"
    assert "config.json" in rows["gloss-tiny", 8]["reason"]
    row = rows["gloss-tiny", 4]
    assert (row["status"], row["revision"], row["cached"]) == ("unjudged", "step4", True)
    assert row["weights_bytes"] == (step_folder(root, "gloss-tiny", 4) / "model.safetensors").stat().st_size
    pretty = run_emergence(tmp_path, "checkpoints", "--model", "gloss-tiny", study=study).stdout
    assert "7 unjudged, 1 missing" in pretty
    assert "gloss-tinier" not in pretty
    assert "--verify" in pretty


@pytest.mark.slow
def test_verifying_finds_a_repeated_upload_and_an_altered_file(root: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path / "verified.yaml", local_family(root))
    clean = run_emergence(tmp_path, "checkpoints", "--verify", "--json", study=study)
    assert clean.returncode == 0, clean.stderr
    assert json.loads(clean.stdout)["problems"] == []
    duplicate_step(root, "gloss-tiny", 2, 16)
    found = run_emergence(tmp_path, "checkpoints", "--verify", "--json", study=study)
    assert found.returncode == 1
    (problem,) = json.loads(found.stdout)["problems"]
    assert problem == "gloss-tiny step 16 is duplicate: it has the weights of step 2"


def test_pins_are_written_compared_and_updated(family: Path, tmp_path: Path) -> None:
    with HubServer() as hub:
        for step in (0, 1):
            for model in MODELS:
                hub.add_revision(f"project/{model}", f"step{step}", step_folder(family, model, step))
        lock = tmp_path / "pins" / "lock.json"
        study = write_study(tmp_path / "pinned.yaml", hub_family(lock=str(lock)))
        first = run_emergence(tmp_path, "checkpoints", "lock", study=study, HF_ENDPOINT=hub.endpoint)
        assert first.returncode == 0, first.stderr
        assert first.stdout.count("added: ") == 4
        assert str(lock) in first.stdout
        before = lock.read_text()
        again = run_emergence(tmp_path, "checkpoints", "lock", study=study, HF_ENDPOINT=hub.endpoint)
        assert "nothing changed upstream" in again.stdout
        hub.move_branch("project/gloss-tiny", "step1", step_folder(family, "gloss-tiny", 2))
        moved = run_emergence(tmp_path, "checkpoints", "lock", "--json", study=study, HF_ENDPOINT=hub.endpoint)
        (line,) = json.loads(moved.stdout)["moved"]
        assert line.startswith("gloss-tiny step1 from ")
        assert lock.read_text() == before
        updating = ("checkpoints", "lock", "--update", "--model", "gloss-tiny")
        run_emergence(tmp_path, *updating, study=study, HF_ENDPOINT=hub.endpoint)
        changed = [
            new for old, new in zip(before.splitlines(), lock.read_text().splitlines(), strict=True) if old != new
        ]
        assert len(changed) == 1, "a diff shows the one line that changed"
        assert hub.bytes_sent() == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("checkpoints", "lock"), "nothing to pin"),
        (("checkpoints", "--model", "gloss-huge"), "gloss-tiny, gloss-tinier"),
    ],
)
def test_impossible_requests_are_refused(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = run_emergence(tmp_path, *arguments, study=TINY)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
