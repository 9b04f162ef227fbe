"""Presets of published families: repositories, names of revisions and shapes, from `presets.yaml`.

Presets shorten a study file. Shapes are still checked against the config of every checkpoint.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from emergence_assets.study.models import HubShape
from emergence_assets.study.strict import ModelName, Step, StrictModel, TokensPerStep
from resources.errors import EmergenceError
from resources.files.plain_yaml import read_yaml

PATH = Path(__file__).with_name("presets.yaml")


class Preset(StrictModel):
    """One published family."""

    repository: str
    """Template of a model's repository."""
    revision: str
    """Pattern of a step's revision."""
    tokens_per_step: TokensPerStep
    """Training tokens per step of the revision's number."""
    step_offset: Step = 0
    """Added to the number in a revision, so that step 0 is the untrained model."""
    models: Mapping[ModelName, HubShape] = Field(min_length=1)
    """Model name to shape, smallest first."""


@functools.cache
def presets() -> dict[str, Preset]:
    """Read all presets, by name.

    Raises:
        EmergenceError: the file of the package is damaged.
    """
    try:
        return TypeAdapter(dict[str, Preset]).validate_python(read_yaml(PATH))
    except ValidationError as error:
        raise EmergenceError(f"The presets cannot be read: {error}", where=PATH, remedy="install again") from None


def preset(name: str) -> Preset:
    """Return the preset of a name.

    Raises:
        EmergenceError: there is no preset of this name; lists all presets.
    """
    known = presets()
    if name not in known:
        raise EmergenceError(f"There is no preset {name!r}.", remedy=f"choose one of {', '.join(sorted(known))}")
    return known[name]
