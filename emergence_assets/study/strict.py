"""Base class and field types of all parts of a study file."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

T = TypeVar("T")
MOST = 2**31 - 1
"""Largest integer: tables store steps, sizes and indices in 32 bits."""
MOST_SEED = 1_000_000_000
"""Largest seed; variants of a study (`seeds.py`) and replicates add to it, within 32 bits."""
MAX_ITEMS = 10_000
"""Most entries of a list."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""With capitals, which folders and repositories of models have."""
Positive = Annotated[int, Field(gt=0, le=MOST)]
TokensPerStep = Annotated[int, Field(gt=0, le=2**32 - 1)]
"""Training tokens of one step; times the largest step it is a number of 63 bits."""
Step = Annotated[int, Field(ge=0, le=MOST)]
"""A training step."""
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]
Items = Annotated[list[T], Field(max_length=MAX_ITEMS)]
"""A list that is no longer than `MAX_ITEMS`; longer ones are refused before their entries are checked."""


class StrictModel(BaseModel):
    """A part of a study file: frozen, of finite numbers, without unknown keys and without conversion between types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def reject_repeats(values: Sequence[int | str], what: str) -> None:
    """Refuse a list with a repeated value.

    Raises:
        ValueError: a value is repeated; pydantic adds the name of the field.
    """
    repeated = next((value for value, count in Counter(values).items() if count > 1), None)
    if repeated is not None:
        raise ValueError(f"{what} {repeated} is listed more than once; list it once")


def distinct(what: str) -> AfterValidator:
    """Validate that a list has no repeated value; `what` names a value in the message."""

    def check(values: list[Any]) -> list[Any]:
        reject_repeats(values, what)
        return values

    return AfterValidator(check)
