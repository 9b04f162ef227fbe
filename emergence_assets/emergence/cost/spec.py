"""Cost against utility as a cell: one table over all models."""

from collections.abc import Sequence

from emergence_assets.checkpoints.spec import CHECKPOINT_REGISTRY
from emergence_assets.emergence.presence.spec import CATEGORY_PRESENCE
from emergence_assets.emergence.table_spec import table_rule
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from resources.compute.task import Task
from resources.files.provenance import Required
from resources.files.records import required_to_json

COST_BYTES, COST_ROW_BYTES = 9_500, 45
"""What the table takes at least, and a row; a level and control of a checkpoint each."""


def _n_bytes(study: Study, _cell: Cell, _counts: TextCounts) -> float:
    return COST_BYTES + COST_ROW_BYTES * 6 * len(study.models) * len(study.listed_steps or ())


COST_UTILITY = table_rule(
    "cost_utility", ("checkpoint_registry", "category_presence"), ("cost.worker:weigh_costs",), _n_bytes, grid="study"
)


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
        function = "emergence_assets.emergence.cost.worker:weigh_costs"
        work.append((Task(function, arguments, "cost_utility", on_accelerator=False), [cell]))
    return work
