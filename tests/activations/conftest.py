"""A sample file that a test may break, and a table of planted faults with their outcomes."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.activations.files.fork_server import ForkServer, fork_server
from tests.activations.files.sample_file import SAMPLE

Faults = Callable[[str, Counter[str]], None]
COUNTED = pytest.StashKey[list[tuple[str, Counter[str]]]]()


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "layer.h5"
    path.write_bytes(SAMPLE.read_bytes())
    return path


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    with fork_server() as server:
        yield server


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Faults:
    """Collect the outcomes of planted faults; they are printed after the last test."""
    return lambda fault, outcomes: request.config.stash.setdefault(COUNTED, []).append((fault, outcomes))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counted = config.stash.get(COUNTED, [])
    if not counted:
        return
    terminalreporter.section("faults in activation files")
    width = max(len(fault) for fault, _ in counted)
    for fault, outcomes in counted:
        seen = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.most_common())
        terminalreporter.write_line(f"{fault:{width}} | {outcomes.total():4} tried | {seen}")
