"""JSON files that may have been edited by hand, checked field by field."""

from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError


class _OfStep(Protocol):
    @property
    def step(self) -> int: ...


T = TypeVar("T")
Entries = TypeVar("Entries", bound=tuple[_OfStep, ...])
STRICT = ConfigDict(extra="forbid", strict=True)
"""For `__pydantic_config__` of a dataclass: no unknown fields, and no value of another type is converted."""


def read_checked(path: Path, kind: TypeAdapter[T], max_bytes: int) -> T:
    """Read a JSON file as an instance of a type.

    Raises:
        ValueError: the file is too large, is not JSON, or a field is wrong; the message names the field.
        OSError: the file cannot be read.
    """
    if path.stat().st_size > max_bytes:
        raise ValueError(f"it is too large: more than {max_bytes} bytes")
    return parse_checked(path.read_bytes(), kind)


def parse_checked(content: bytes | str, kind: TypeAdapter[T]) -> T:
    """Parse the content of a JSON file as an instance of a type.

    Raises:
        ValueError: the content is not JSON, or a field is wrong; the message names the field.
    """
    try:
        return kind.validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in problem["loc"])[:200]
        raise ValueError(f"{field}: {problem['msg']}" if field else problem["msg"]) from None


def ascending_steps(entries: Entries) -> Entries:
    """Return entries whose steps ascend, as a pydantic validator.

    Raises:
        ValueError: a step is repeated or out of order.
    """
    steps = [entry.step for entry in entries]
    if steps != sorted(set(steps)):
        raise ValueError("the steps do not ascend")
    return entries
