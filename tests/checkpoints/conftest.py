"""A small real family of models for tests of checkpoints."""

import shutil
from pathlib import Path

import pytest

from emergence_assets.checkpoints.measurement import Measurement
from tests.family import MODELS, STEPS, trained_family
from tests.measured import measured_steps


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `{model}/step{N}/` of two clean models; read only, tests that change it take `family_copy`."""
    return trained_family(tmp_path_factory.mktemp("family"))


@pytest.fixture
def family_copy(family: Path, tmp_path: Path) -> Path:
    """A copy of the family of one's own."""
    return shutil.copytree(family, tmp_path / "family")


@pytest.fixture(scope="session")
def clean(family: Path) -> dict[int, Measurement]:
    """Step to measurement of the larger model of the family, as it was trained."""
    found = measured_steps(family, "gloss-tiny", STEPS)
    return {step: one for step, one in found.items() if isinstance(one, Measurement)}


@pytest.fixture(scope="session")
def other_run(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Measurement]:
    """The same of a run that differs in its seed alone."""
    folder = trained_family(tmp_path_factory.mktemp("other"), models={"gloss-tiny": MODELS["gloss-tiny"]}, seed=1)
    found = measured_steps(folder, "gloss-tiny", STEPS)
    return {step: one for step, one in found.items() if isinstance(one, Measurement)}
