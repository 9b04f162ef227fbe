"""Arguments for workers that run checkpoints again."""

from typing import Any

from emergence_assets.activations.spec import capture_arguments
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan


def origins(plan: Plan, cell: Cell) -> dict[str, Any]:
    """Return the argument `origins`: inputs of `loaded_checkpoint` by step, for the first and last step of a model.

    Raises:
        EmergenceError: the model has no checkpoint.
    """
    steps = plan.steps_of(str(cell.model))
    return {
        "origins": {step: capture_arguments(plan, Cell(cell.model, step)) for step in sorted({steps[0], steps[-1]})}
    }
