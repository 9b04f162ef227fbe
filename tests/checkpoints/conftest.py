"""Measurements of the small real family, for tests of checkpoints."""

from pathlib import Path

import pytest

from emergence_assets.checkpoints.identity.measurement import Measurement
from tests.family import MODELS, STEPS, trained_family
from tests.measured import measured_steps


@pytest.fixture(scope="session")
def clean(family: Path) -> dict[int, Measurement]:
    """Step to measurement of the larger model of the family, as it was trained."""
    found = measured_steps(family, "gloss-tiny", STEPS)
    return {step: one for step, one in found.items() if isinstance(one, Measurement)}


@pytest.fixture(scope="session")
def other_run(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Measurement]:
    """Step to measurement of a run with another seed."""
    folder = trained_family(tmp_path_factory.mktemp("other"), models={"gloss-tiny": MODELS["gloss-tiny"]}, seed=1)
    found = measured_steps(folder, "gloss-tiny", STEPS)
    return {step: one for step, one in found.items() if isinstance(one, Measurement)}
