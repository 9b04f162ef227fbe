"""What tests of the audit share."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def copy(finished_study: Path, tmp_path: Path) -> Path:
    """The finished study in a data folder of one's own."""
    return shutil.copytree(finished_study, tmp_path / "data")
