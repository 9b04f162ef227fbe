"""What tests of the audit share."""

from pathlib import Path

import pytest

from tests.conftest import copied


@pytest.fixture
def copy(finished_study: Path, tmp_path: Path) -> Path:
    """The finished study in a data folder of one's own."""
    return copied(finished_study, tmp_path / "data")
