"""Other seeds of everything: what a study finds should not depend on them."""

from collections.abc import Iterator
from typing import Any

STRIDE = 100
"""Between the seeds of one study and the next, so that the two share none."""
SEEDS = ("seed", "data_seed", "seeds")
"""Names of the fields that hold one, or several."""
MOST = 300
"""SAE seeds are kept in 16 bits."""


def reseeded(declared: dict[str, Any], seed: int) -> dict[str, Any]:
    """A study under a name of its own, with every seed moved.

    Moved are the initial weights and the order of the training tokens of a family that is trained here, the draw of
    texts, the SAEs, and the bootstrap, permutations and controls. Published checkpoints stay what they are.

    Args:
        declared: a study as plain values, defaults filled in; left as it is.
        seed: 1 or more.
    """
    return _moved(declared, seed * STRIDE) | {"name": f"{declared['name']}-seed{seed}"}


def seeds_of(declared: dict[str, Any]) -> dict[str, Any]:
    """Every seed of a study that is given as plain values, by the path of its field."""
    return dict(_seeds(declared, ""))


def _seeds(part: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        if isinstance(value, dict):
            yield from _seeds(value, f"{above}{name}.")
        elif name in SEEDS and value is not None:
            yield f"{above}{name}", value


def _moved(part: dict[str, Any], by: int) -> dict[str, Any]:
    return {name: _move(name, value, by) for name, value in part.items()}


def _move(name: str, value: Any, by: int) -> Any:
    if isinstance(value, dict):
        return _moved(value, by)
    if name not in SEEDS or value is None:
        return value
    return [one + by for one in value] if isinstance(value, list) else value + by
