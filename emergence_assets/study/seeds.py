"""Repeat a study with other random seeds, to test whether its results depend on them."""

from collections.abc import Iterator
from typing import Any

STRIDE = 100
"""Distance between the seeds of two variants, so that they share none."""
SEEDS = ("seed", "data_seed", "seeds")
"""Names of the fields with one seed or a list of seeds."""
MOST = 300
"""Largest number of a variant."""


def reseeded(declared: dict[str, Any], seed: int) -> dict[str, Any]:
    """Shift every seed of a study and add the variant to its name.

    This changes the initial weights and the order of training tokens of a family that is trained here, the sample of
    texts, the SAEs, the bootstrap, permutations and controls. Published checkpoints stay the same.

    Args:
        declared: a study as plain values with defaults; not modified.
        seed: number of the variant, 1 or more.
    """
    return _shifted(declared, seed * STRIDE) | {"name": f"{declared['name']}-seed{seed}"}


def seeds_of(declared: dict[str, Any]) -> dict[str, Any]:
    """All seeds of a study, given as plain values: path of the field → value."""
    return dict(_seeds(declared, ""))


def _seeds(part: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        if isinstance(value, dict):
            yield from _seeds(value, f"{above}{name}.")
        elif name in SEEDS and value is not None:
            yield f"{above}{name}", value


def _shifted(value: Any, by: int, *, is_seed: bool = False) -> Any:
    if isinstance(value, dict):
        return {name: _shifted(part, by, is_seed=name in SEEDS) for name, part in value.items()}
    if not is_seed or value is None:
        return value
    return [one + by for one in value] if isinstance(value, list) else value + by
