"""Counts of the checks of every asset that the report is made from.

The checks are evaluated on the stored cells each time the report is made, with the function that validates cells in a
run. The page therefore needs neither Dagster's event log nor records beside the cells, and equal cells give an equal
page. The fingerprint of the report covers the cells, through its inputs. It does not cover the declarations of the
checks, because they change no number: the page shows the results of a changed check once it is made again, as Dagster
does once the cells are validated again.
"""

from typing import Any

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.check_results import check_results
from emergence_assets.plan.plan import Plan

MAX_NAMED = 20
"""Largest number of failing cells that are named per check."""


def check_counts(plan: Plan, spec: AssetSpec, cell: Cell) -> list[dict[str, Any]]:
    """Evaluate all checks of the cells that a cell is made from, directly or indirectly, in flow order.

    Returns:
        A row per asset and check, as plain values: `asset`, `check`, `description`, `blocking`, `n_cells`, `n_failing`,
        `failing` (names of cells, at most `MAX_NAMED`) and `found` (a line per broken condition).

    Raises:
        EmergenceError: a stored cell is damaged.
    """
    made_from = plan.behind(spec, cell)
    rows = []
    for source in plan.specs.values():
        cells = [one for one in plan.cells(source) if (source, one) in made_from]
        for result in check_results(source, plan, cells) if cells else []:
            check = result.finding.check
            failing = [str(one) for one in cells if not result.passes(one)]
            rows.append(
                {
                    "asset": source.name,
                    "check": check.name,
                    "description": check.description,
                    "blocking": check.blocking,
                    "n_cells": len(cells),
                    "n_failing": len(failing),
                    "failing": failing[:MAX_NAMED],
                    "found": list(result.finding.details),
                }
            )
    return rows
