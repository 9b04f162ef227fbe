"""Base class and field types of all parts of a study file."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""With capitals, which folders and repositories of models have."""
Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]


class StrictModel(BaseModel):
    """A part of a study file: frozen, without unknown keys and without conversion between types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def reject_repeats(values: Sequence[int | str], what: str) -> None:
    """Refuse a list with a repeated value.

    Raises:
        ValueError: a value is repeated; pydantic adds the name of the field.
    """
    repeated = [value for value in values if values.count(value) > 1]
    if repeated:
        raise ValueError(f"{what} {repeated[0]} is listed more than once; list it once")


def distinct(what: str) -> AfterValidator:
    """Validate that a list has no repeated value; `what` names a value in the message."""

    def check(values: list[Any]) -> list[Any]:
        reject_repeats(values, what)
        return values

    return AfterValidator(check)
