"""What all parts of a study file have in common: strict, frozen, without unknown keys."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]


class StrictModel(BaseModel):
    """A part of a study file: unknown keys are errors, values are never coerced from another kind, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def reject_repeats(values: Sequence[int | str], what: str) -> None:
    """Refuse a list with a value that stands in it twice.

    Raises:
        ValueError: there is one; pydantic turns it into a message that names the field.
    """
    repeated = [value for value in values if values.count(value) > 1]
    if repeated:
        raise ValueError(f"{what} {repeated[0]} is listed more than once; list it once")
