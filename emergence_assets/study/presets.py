"""Published families that are known by name: where their checkpoints are, how revisions are called, how large they are.

The facts stand in `presets.yaml`. They save typing and are believed nowhere: shapes are checked against the config of
every checkpoint.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from emergence_assets.study.strict import Name, Positive, StrictModel
from resources.errors import EmergenceError
from resources.files.plain_yaml import read_yaml

PATH = Path(__file__).with_name("presets.yaml")


class PresetShape(StrictModel):
    """One published model; what is None is that of the family."""

    d_model: Positive
    n_layers: Positive
    repository: str | None = None
    tokens_per_step: Positive | None = None
    replicate_of: Name | None = None


class Preset(StrictModel):
    """One published family."""

    repository: str
    """Template of a model's repository."""
    revision: str
    """Pattern of a step's revision."""
    tokens_per_step: Positive
    """Training tokens per step of the revision's number."""
    step_offset: int = Field(default=0, ge=0)
    """What is added to the revision's number, so that step 0 is the untrained model."""
    models: Mapping[Name, PresetShape] = Field(min_length=1)
    """Model name to shape, smallest first."""


@functools.cache
def presets() -> dict[str, Preset]:
    """All presets by name.

    Raises:
        EmergenceError: the file that ships with the package was damaged.
    """
    try:
        return TypeAdapter(dict[str, Preset]).validate_python(read_yaml(PATH))
    except ValidationError as error:
        raise EmergenceError(f"The presets cannot be read: {error}", where=PATH, remedy="install again") from None


def preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        EmergenceError: there is none; lists those that there are.
    """
    known = presets()
    if name not in known:
        raise EmergenceError(f"There is no preset {name!r}.", remedy=f"choose one of {', '.join(sorted(known))}")
    return known[name]
