"""A finished study in a folder that cannot be written, such as that of a colleague, can be looked at and exported."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import copied, mounted_disk, run_emergence

pytestmark = pytest.mark.slow
CELL = ("--model", "gloss-tiny", "--step", "6", "--layer", "1")


@pytest.fixture(scope="module")
def read_only(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The finished tiny study on a disk that is mounted read-only."""
    with mounted_disk(tmp_path_factory.mktemp("read-only") / "disk", "200m") as disk:
        data = copied(finished_study, disk / "data")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        yield data


@pytest.mark.parametrize(
    "command",
    ["status", "checkpoints", "claims", "probes", "storage", "convergence", "audit claims/1", "audit --verify"],
)
def test_a_study_that_cannot_be_written_can_be_looked_at(read_only: Path, finished_study: Path, command: str) -> None:
    seen = run_emergence(read_only, *command.split())
    assert seen.returncode == 0, seen.stderr
    assert len(seen.stdout.splitlines()) == len(run_emergence(finished_study, *command.split()).stdout.splitlines())


@pytest.mark.parametrize("layout", ["sae_lens", "ro-crate"])
def test_it_can_be_exported(read_only: Path, tmp_path: Path, layout: str) -> None:
    cells = CELL if layout == "sae_lens" else ()
    target = tmp_path / ("out" if layout == "sae_lens" else "study.zip")
    done = run_emergence(read_only, "export", "--to", layout, *cells, str(target))
    assert done.returncode == 0, done.stderr
    assert target.exists()


@pytest.mark.parametrize("command", ["run", "ui", "storage evict", "checkpoints forget"])
def test_what_has_to_write_is_refused_with_a_remedy(read_only: Path, command: str) -> None:
    refused = run_emergence(read_only, *command.split())
    assert refused.returncode == 1
    assert "cannot be written" in refused.stderr
    assert "--data" in refused.stderr
    assert "report it" not in refused.stderr
