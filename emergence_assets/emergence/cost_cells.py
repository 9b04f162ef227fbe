"""Cost against utility as a cell: one table over all models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.cells import CHECKPOINT_REGISTRY
from emergence_assets.emergence.cells import CATEGORY_PRESENCE
from emergence_assets.emergence.table_cells import table_rule, write_cell
from emergence_assets.plan import Cell, Plan
from emergence_assets.provenance import Required
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from resources.compute import Task
from resources.records import required_to_json
from resources.tables import read_tables

COST_BYTES, COST_ROW_BYTES = 9_500, 45
"""What the table takes at least, and a row; a level and control of a checkpoint each."""


def _n_bytes(study: Study, _cell: Cell, _counts: TextCounts) -> float:
    return COST_BYTES + COST_ROW_BYTES * 6 * len(study.models) * len(study.listed_steps or ())


COST_UTILITY = table_rule(
    "cost_utility", ("checkpoint_registry", "category_presence"), ("cost_cells:weigh_costs",), _n_bytes, grid="study"
)
RULES = (COST_UTILITY,)


def cost_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task."""
    models = [Cell(model) for model in plan.study.models]
    work = []
    for cell, required in due:
        arguments = {
            "presence": [str(CATEGORY_PRESENCE.path(plan.storage, model)) for model in models],
            "registry": [str(CHECKPOINT_REGISTRY.path(plan.storage, model)) for model in models],
            "path": str(COST_UTILITY.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        function = "emergence_assets.emergence.cost_cells:weigh_costs"
        work.append((Task(function, arguments, "cost_utility", on_accelerator=False), [cell]))
    return work


def weigh_costs(presence: list[str], registry: list[str], path: str, required: str, report: Any) -> None:
    """Worker: what every checkpoint cost and what it is worth."""
    from emergence_assets.checkpoints.tables import REGISTRY
    from emergence_assets.emergence.cost_utility import cost_utility
    from emergence_assets.emergence.tables.catalogue import CATALOGUE

    frame = cost_utility(
        read_tables([Path(part) for part in presence], CATALOGUE[CATEGORY_PRESENCE.name]),
        read_tables([Path(part) for part in registry], REGISTRY),
    )
    numbers = {"rows": len(frame), "stop_signals": int(frame["stop_signal"].sum())}
    write_cell(Path(path), frame, CATALOGUE[COST_UTILITY.name], required, numbers)
