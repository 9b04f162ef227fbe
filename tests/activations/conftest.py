"""A copy of the sample file that a test may break."""

from pathlib import Path

import pytest

from tests.activations.sample_file import SAMPLE


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "layer.h5"
    path.write_bytes(SAMPLE.read_bytes())
    return path
