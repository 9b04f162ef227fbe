"""The wheel is complete: it is built, installed into an empty environment and used from another folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import TINY

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> str:
    """Run a command without the project on its path; return its output."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DAGSTER_HOME")}
    finished = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=inherited | {"EMERGENCE_DATA": str(cwd / "data")},
        timeout=900,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_a_wheel_works_in_an_empty_environment(tmp_path: Path) -> None:
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    wheel_of = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path / "built")
    run(sys.executable, *pip, *wheel_of, ROOT, cwd=tmp_path)
    (wheel,) = (tmp_path / "built").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("wordnet/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "benchmarks/", "scripts/")) for name in names)

    run(sys.executable, "-m", "venv", tmp_path / "environment", cwd=tmp_path)
    python = tmp_path / "environment" / "bin" / "python"
    locked = ("--require-hashes", "--no-deps", "--no-build-isolation", "--requirement")
    for what in ((*locked, ROOT / "locks/build.txt"), (*locked, ROOT / "locks/main.txt"), ("torch==2.13.0",)):
        run(python, *pip, "install", "--no-compile", *what, cwd=tmp_path)
    run(python, *pip, "install", "--no-compile", "--no-deps", wheel, cwd=tmp_path)
    run(python, *pip, "check", cwd=tmp_path)
    emergence = python.with_name("emergence")
    assert "quick" in run(emergence, "studies", cwd=tmp_path)
    run(emergence, "--study", TINY, "run", "--stage", "checkpoints", cwd=tmp_path)
    assert list((tmp_path / "data/tiny/checkpoints").rglob("*.safetensors"))
    run(python.with_name("dagster"), "definitions", "validate", "-m", "emergence_assets.definitions", cwd=tmp_path)
