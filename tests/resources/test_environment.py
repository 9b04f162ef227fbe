"""The process, run and commit in a provenance record."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from emergence_assets.plan.run_metadata import run_metadata
from emergence_assets.study.load import load_study
from resources import git_commit as checkouts
from resources.compute.local_processes import LocalProcesses
from resources.compute.task import Task
from resources.environment import LIBRARIES, computes_on, environment, machine, made_for
from resources.git_commit import PACKAGES, UNKNOWN, checkout
from tests.conftest import TINY

ROOT = Path(__file__).parents[2]


def test_versions_are_those_that_are_loaded() -> None:
    here = environment()
    assert torch.__version__.startswith(here["torch"])  # the metadata of some builds leave out +cu130
    assert here["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert here["num_threads"] == torch.get_num_threads()
    assert set(LIBRARIES) <= here.keys()
    assert json.loads(json.dumps(here)) == here


def test_device_and_request_of_records_apply_in_the_block_alone() -> None:
    with made_for({"run_id": "r1"}):
        assert (environment()["run_id"], environment()["device"]) == ("r1", "cpu")
        computes_on("a GPU")
        with made_for({"run_id": "r2"}):
            assert (environment()["run_id"], environment()["device"]) == ("r2", "cpu")
        assert (environment()["run_id"], environment()["device"]) == ("r1", "a GPU")
    assert "run_id" not in environment()
    assert environment()["device"] == "cpu"
    assert not {"run_id", "device"} & machine().keys()


@pytest.mark.parametrize(("wanted", "counted"), [("3", 3), ("", os.cpu_count()), ("many", os.cpu_count())])
def test_threads_are_counted_without_torch(wanted: str, counted: int) -> None:
    program = (
        "import json, sys\n"
        "from resources.environment import environment\n"
        "print(json.dumps(environment()['num_threads']))\n"
        "assert not {'torch', 'numpy', 'polars'} & set(sys.modules)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": wanted},
    )
    assert json.loads(said.stdout) == counted


def test_nothing_of_the_user_or_of_the_host_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMERGENCE_SECRET", "hunter2")
    with made_for(run_metadata("r1", load_study(str(TINY)))):
        said = json.dumps(environment())
    hidden = {"hunter2", os.uname().nodename, str(Path.home()), str(ROOT)} - {"", "/"}
    assert not [word for word in hidden if word in said]


def test_a_run_passes_its_metadata_to_its_workers() -> None:
    metadata = run_metadata("r1", load_study(str(TINY)))
    asked = Task("tests.resources.compute.compute_tasks:describe", {}, "one", run_metadata=metadata)
    plain = Task("tests.resources.compute.compute_tasks:describe", {}, "other")
    with LocalProcesses(1) as workers:
        found = {task.label: said for task, said in workers.run([asked, plain])}
    assert found["one"].items() >= metadata.items()
    assert found["one"]["num_threads"] == 1
    assert "run_id" not in found["other"]


def test_a_run_names_its_study_and_every_seed() -> None:
    study = load_study(str(TINY))
    metadata = run_metadata("r1", study)
    assert (metadata["run_id"], metadata["study"]) == ("r1", "tiny")
    assert metadata["seeds"]["sae.seeds"] == study.sae.seeds
    assert metadata["seeds"]["statistics.seed"] == study.statistics.seed
    assert metadata["seeds"]["family.data_seed"] == study.family.model_dump()["data_seed"]
    other = study.model_copy(update={"statistics": study.statistics.model_copy(update={"seed": 1})})
    assert run_metadata("r1", other)["study_sha256"] != metadata["study_sha256"]
    operated = study.model_copy(update={"automation": True})
    assert run_metadata("r1", operated)["study_sha256"] == metadata["study_sha256"]


# The commit, in repositories made for the test.


def git(folder: Path, *arguments: str) -> str:
    named = {"GIT_AUTHOR_NAME": "n", "GIT_AUTHOR_EMAIL": "e", "GIT_COMMITTER_NAME": "n", "GIT_COMMITTER_EMAIL": "e"}
    ended = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True, env=os.environ | named
    )
    return ended.stdout.strip()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository with a package that replaces ours."""
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkout.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "m")
    monkeypatch.setattr(checkouts, "__file__", str(tmp_path / PACKAGES[0] / "checkout.py"))
    checkouts._checkout.cache_clear()
    yield tmp_path / PACKAGES[0]
    checkouts._checkout.cache_clear()


def test_the_commit_is_named_and_clean(package: Path) -> None:
    assert checkout() == {"git_commit": git(package, "rev-parse", "HEAD"), "git_dirty": False}


@pytest.mark.parametrize("where", ["emergence_assets/checkout.py", "emergence_assets/new.py", "resources/new.py"])
def test_a_changed_or_new_module_is_dirty(package: Path, where: str) -> None:
    (package.parent / where).write_text("x = 1\n")
    assert checkout()["git_dirty"] is True


def test_a_changed_file_beside_the_packages_is_not(package: Path) -> None:
    (package.parent / "notes.txt").write_text("x")
    assert checkout()["git_dirty"] is False


def test_a_package_in_a_foreign_checkout_has_no_commit(package: Path) -> None:
    git(package.parent, "rm", "-q", "--cached", "-r", "emergence_assets")
    git(package.parent, "commit", "-q", "-m", "m")
    assert checkout() == {"git_commit": UNKNOWN, "git_dirty": UNKNOWN}


def test_outside_git_and_without_git_the_commit_is_unknown(
    package: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    assert checkout()["git_commit"] == UNKNOWN
    monkeypatch.undo()
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "checkout.py"
    elsewhere.write_text("")
    monkeypatch.setattr(checkouts, "__file__", str(elsewhere))
    assert checkout()["git_commit"] == UNKNOWN


def test_a_repository_that_the_caller_works_in_is_not_taken_for_ours(
    package: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.delenv("GIT_WORK_TREE", raising=False)
    said = checkout()
    monkeypatch.delenv("GIT_DIR")
    assert said["git_commit"] == git(package, "rev-parse", "HEAD")


def test_git_runs_once_per_process(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    ask = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *given, **named: calls.append(given) or ask(*given, **named))
    for _ in range(3):
        checkout()
    assert len(calls) == 3  # is it ours, which commit, is it changed
