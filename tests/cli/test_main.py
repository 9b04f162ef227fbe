"""Messages of a command that fails: what, where, what to do; exit code; no traceback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.conftest import TINY, mounted_disk, run_emergence, status_of


def refused(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr.startswith("error: ")
    assert "what to do" in result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def test_an_unknown_study_lists_the_known_ones(tmp_path: Path) -> None:
    message = refused(run_emergence(tmp_path, "status", study="defualt"))
    assert "'defualt'" in message
    assert "default, pretrained, pythia, quick" in message


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = run_emergence(tmp_path, "--debug", "status", study="defualt")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_a_typo_in_a_study_file_names_the_field(tmp_path: Path) -> None:
    study = tmp_path / "typo.yaml"
    study.write_text(TINY.read_text().replace("n_latents", "n_latent"))
    message = refused(run_emergence(tmp_path, "run", study=study))
    assert "sae.n_latent: unknown key" in message
    assert "sae.n_latents: is required" in message


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    message = refused(run_emergence(blocked / "data", "run"))
    assert "cannot be written" in message
    assert "--data" in message


def test_an_unknown_stage_lists_the_stages(tmp_path: Path) -> None:
    assert "checkpoints, activations" in refused(run_emergence(tmp_path, "run", "--stage", "activation"))


def test_a_hub_that_does_not_answer_is_named(tmp_path: Path) -> None:
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "EMERGENCE_HUB_PATIENCE": "0"}
    message = refused(run_emergence(tmp_path, "run", study="pythia", **nowhere))
    assert "EleutherAI/pythia-14m" in message
    assert "127.0.0.1:9" in message


def test_an_offline_hub_study_names_the_missing_files(tmp_path: Path) -> None:
    message = refused(run_emergence(tmp_path, "run", study="pythia", HF_HUB_OFFLINE="1"))
    assert "offline" in message
    assert "lock" in message


@pytest.mark.slow
def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    message = refused(run_emergence(tmp_path, "run", "--device", "cuda:7"))
    assert "'cuda:7'" in message


@pytest.mark.slow
def test_nan_weights_are_found_before_anything_is_computed_from_them(tmp_path: Path) -> None:
    assert run_emergence(tmp_path, "run", "--stage", "checkpoints").returncode == 0
    weights = tmp_path / "tiny/checkpoints/gloss-tiny/step3/model.safetensors"
    tensors = load_file(weights)
    name = sorted(tensors)[0]
    tensors[name].flat[0] = np.nan
    save_file(tensors, weights, metadata={"format": "pt"})
    message = refused(run_emergence(tmp_path, "run"))
    assert "step3" in message
    assert "nan" in message.lower()
    assert not list((tmp_path / "tiny").rglob("layer=*.h5"))
    status = status_of(tmp_path)
    assert (status["checkpoint"]["failed"], status["checkpoint"]["done"]) == (1, 7)


@pytest.mark.slow
def test_a_full_disk_ends_in_one_message_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    with mounted_disk(tmp_path / "small", "3m") as disk:
        message = refused(run_emergence(disk, "run", DAGSTER_HOME=str(tmp_path / "home")))
        assert "full" in message or "space" in message.lower()
        assert not [path for path in (disk / "tiny").rglob("*.tmp") if path.is_file()]


def test_help_names_every_command() -> None:
    result = run_emergence(Path(os.devnull).parent, "--help")
    assert result.returncode == 0
    assert all(command in result.stdout for command in ("run", "status", "ui", "studies"))


def test_a_full_output_is_one_message(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = command(tmp_path, "studies", stdout=full)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "The disk is full" in done.stderr


def test_an_output_with_few_characters_shows_escapes(tmp_path: Path) -> None:
    done = command(tmp_path, "status", study=tmp_path / "生物.yaml", PYTHONIOENCODING="latin-1")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "\\u751f" in done.stderr


def test_a_removed_working_directory_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os, shutil; os.chdir({str(gone)!r}); shutil.rmtree({str(gone)!r}); "
    code += "import sys; sys.argv = ['emergence', 'status']; "
    code += "from emergence_assets.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 1
    assert "The working directory was removed" in done.stderr
    assert "Traceback" not in done.stderr


def command(
    data: Path, *arguments: str, study: Path = TINY, stdout: Any = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "emergence_assets.cli.main", "--study", str(study), "--data", str(data), *arguments]
    return subprocess.run(
        line,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
        env=dict(os.environ) | environment,
    )
