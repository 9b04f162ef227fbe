"""Cost against utility as a cell: one table over all models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.cells import CHECKPOINT_REGISTRY
from emergence_assets.emergence.cells import CATEGORY_PRESENCE, write_emergence_table
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.provenance import Required
from resources.compute import Task
from resources.records import required_to_json
from resources.tables import parquet_provenance, read_tables, verify_table

COST_BYTES, COST_ROW_BYTES = 9_500, 45
"""What the table takes at least, and a row; a level and control of a checkpoint each."""

COST_UTILITY = Rule(
    name="cost_utility",
    stage="emergence",
    grid="study",
    inputs=("checkpoint_registry", "category_presence"),
    recipe=lambda _study, _storage, _cell: {},
    code=("emergence_assets.emergence.cost_utility",),
    path=lambda storage, _cell: storage.study_table("cost_utility"),
    stored=parquet_provenance,
    verify=verify_table,
    n_bytes=lambda study, _cell, _counts: (
        COST_BYTES + COST_ROW_BYTES * 6 * len(study.models) * len(study.listed_steps or ())
    ),
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
        work.append((Task("emergence_assets.emergence.cost_cells:weigh_costs", arguments, "cost_utility"), [cell]))
    return work


def weigh_costs(presence: list[str], registry: list[str], path: str, required: str, report: Any) -> None:
    """Worker: what every checkpoint cost and what it is worth."""
    from emergence_assets.checkpoints.schema import REGISTRY
    from emergence_assets.emergence import tables
    from emergence_assets.emergence.cost_utility import cost_utility

    frame = cost_utility(
        read_tables([Path(part) for part in presence], tables.CATEGORY_PRESENCE),
        read_tables([Path(part) for part in registry], REGISTRY),
    )
    numbers = {"rows": len(frame), "stop_signals": int(frame["stop_signal"].sum())}
    write_emergence_table(Path(path), frame, tables.COST_UTILITY, required, numbers)
