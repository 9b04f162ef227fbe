"""Fixtures of several folders: the command as a user runs it, a finished study, small families and disks."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, sync_playwright

# What the caller has chosen, such as the data folder of a CI run, is not meant for tests.
for name in ("EMERGENCE_DATA", "EMERGENCE_SEED", "EMERGENCE_STUDY", "DAGSTER_HOME"):
    os.environ.pop(name, None)
# Examples have no time limit, because the machine may be busy.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARTEFACTS = Path(__file__).parents[1] / "artefacts"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LONGEST = {"automation", "studies", "test_wheel.py"}
"""Folders and files with tests of more than a minute."""
TINY = Path(__file__).with_name("tiny.yaml")
Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first, so that none is left alone at the end of a parallel run.

    Those that need the finished study come after the others: all processes wait for it.
    """
    fixtures = {item: getattr(item, "fixturenames", ()) for item in items}
    items.sort(key=lambda item: (LONGEST.isdisjoint(item.path.parts), "finished_study" in fixtures[item]))


def run_emergence(data: Path, *arguments: str, study: str | Path = TINY, **environment: str) -> Any:
    """Run the command in a separate process; return it with stdout, stderr and exit code.

    With one worker, because tests run side by side; the killed and stopped studies have two.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in ("DAGSTER_HOME", "EMERGENCE_STUDY")}
    return subprocess.run(
        [sys.executable, "-m", "emergence_assets.cli.main", "--study", str(study), "--data", str(data), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=inherited | {"COLUMNS": "200", "EMERGENCE_WORKERS": "1"} | environment,
    )


def status_of(data: Path, study: str | Path = TINY) -> dict[str, dict[str, Any]]:
    """Count cells by asset."""
    finished = run_emergence(data, "status", "--json", study=study)
    assert finished.returncode == 0, finished.stderr
    return {entry["asset"]: entry for entry in json.loads(finished.stdout)}


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that one test process fills and all processes of the session read."""
    base = tmp_path_factory.getbasetemp()
    # pytest-xdist gives every process a folder inside the one of the session.
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = root / name, root / f"{name}.done"
    with FileLock(root / f"{name}.lock"):
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def copied(study: Path, target: Path) -> Path:
    """Copy a finished study; without the journals that another process may have open while it reads."""
    return Path(shutil.copytree(study, target, ignore=shutil.ignore_patterns("*-wal", "*-shm")))


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data folder with the tiny study, run once per session; tests that change it copy it."""

    def make(data: Path) -> None:
        finished = run_emergence(data, "run")
        assert finished.returncode == 0, finished.stdout + finished.stderr

    return made_once(tmp_path_factory, "finished", make)


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `{model}/step{N}/` of two clean models; read only. Tests that change it take `family_copy`."""
    from tests.family import trained_family  # imports torch, which most tests do not need

    return made_once(tmp_path_factory, "family", trained_family)


@pytest.fixture
def family_copy(family: Path, tmp_path: Path) -> Path:
    """A separate copy of the family."""
    return shutil.copytree(family, tmp_path / "family")


def unavailable(what: str) -> None:
    """Skip on a user's machine; in CI, where everything is installed, a test that does not run is a failure."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@contextlib.contextmanager
def mounted_disk(folder: Path, size: str) -> Iterator[Path]:
    """A separate file system of the given size, as in `1m`."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        unavailable("mounting a small file system is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with mounted_disk(tmp_path / "small", "1m") as folder:
        yield folder


@pytest.fixture(scope="module")  # not longer: the event loop of Playwright disturbs other tests of the process
def browser() -> Iterator[Browser]:
    """Chromium, which opens pages."""
    if CHROMIUM is None:
        unavailable("Chromium is not installed")
    ARTEFACTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()
