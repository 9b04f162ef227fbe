"""A small real family of models for tests of checkpoints."""

import shutil
from pathlib import Path

import pytest

from tests.family import trained_family


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `{model}/step{N}/` of two clean models; read only, tests that change it take `family_copy`."""
    return trained_family(tmp_path_factory.mktemp("family"))


@pytest.fixture
def family_copy(family: Path, tmp_path: Path) -> Path:
    """A copy of the family of one's own."""
    return shutil.copytree(family, tmp_path / "family")
