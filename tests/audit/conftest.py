"""Fixtures of the audit tests."""

from pathlib import Path

import pytest

from tests.conftest import copied


@pytest.fixture
def copy(finished_study: Path, tmp_path: Path) -> Path:
    """Copy the finished study into a separate data folder."""
    return copied(finished_study, tmp_path / "data")
