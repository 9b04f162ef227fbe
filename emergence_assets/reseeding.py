"""Other seeds of everything: what a study finds should not depend on them.

Here: which fields of a study are seeds. Not here: what a seed decides.
"""

from typing import Any

STRIDE = 100
"""Between the seeds of one study and the next, so that the two share none."""
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


def _moved(part: dict[str, Any], by: int) -> dict[str, Any]:
    return {name: _move(name, value, by) for name, value in part.items()}


def _move(name: str, value: Any, by: int) -> Any:
    if isinstance(value, dict):
        return _moved(value, by)
    if name == "seeds":
        return [one + by for one in value]
    return value + by if name in ("seed", "data_seed") and value is not None else value
