"""Tables that are functions of other tables of this stage."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.emergence.table_spec import write_cell
from emergence_assets.plan.asset_spec import Rule
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from resources.compute.task import Task
from resources.files.provenance import Required
from resources.files.records import required_to_json
from resources.tables.parquet import read_table


def table_tasks(rule: Rule) -> Callable[[Plan, Sequence[tuple[Cell, Required]]], list[tuple[Task, Sequence[Cell]]]]:
    """Tasks of a table that is derived from other tables of this stage."""

    def tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
        work = []
        for cell, required in due:
            arguments = {
                "sources": {
                    source.name: str(source.path(plan.storage, source_cell))
                    for source, source_cell in plan.input_cells(rule, cell)
                },
                "table": rule.name,
                "path": str(rule.path(plan.storage, cell)),
                "required": required_to_json(required),
            }
            function, label = "emergence_assets.emergence.derived:derive_table", f"{rule.name} {cell}"
            work.append((Task(function, arguments, label, on_accelerator=False), [cell]))
        return work

    return tasks


def derive_table(sources: dict[str, str], table: str, path: str, required: str, report: Any) -> None:
    """Worker: one of the emergence tables of one model, from others."""
    from emergence_assets.emergence.catalogue import CATALOGUE
    from emergence_assets.emergence.claims.hazard import emergence_hazard
    from emergence_assets.emergence.space.over_space import emergence_over_space
    from emergence_assets.emergence.space.reactivation import reactivation
    from emergence_assets.emergence.time.over_time import emergence_over_time

    derive: Callable[..., Any] = {
        "emergence_over_time": emergence_over_time,
        "emergence_hazard": emergence_hazard,
        "emergence_over_space": emergence_over_space,
        "reactivation": reactivation,
    }[table]
    read = {name: read_table(Path(source), CATALOGUE[name]) for name, source in sources.items()}
    frame = derive(**{ARGUMENTS[name]: frame for name, frame in read.items()})
    write_cell(Path(path), frame, CATALOGUE[table], required, {"rows": len(frame)})


ARGUMENTS = {"category_presence": "presence", "emergence_over_time": "time", "claims": "claims"}
"""How functions call the tables that they derive others from."""
