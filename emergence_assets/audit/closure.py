"""Cells behind a result, split into cells to make again for a reproduction and cells to take as they are.

A claim names its inputs. All cells of the model of the claim are made again; cells of other models in its table are
taken as they are.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from emergence_assets.audit.address import Target
from emergence_assets.audit.records import named_inputs
from emergence_assets.checkpoints.spec import CHECKPOINT, TRAINING_RUN
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan

Cells = Mapping[str, frozenset[Cell]]
"""Asset to its cells."""


class Closure(NamedTuple):
    """All cells behind a result, in two parts."""

    again: Cells
    """Cells to make again."""
    given: Cells
    """Cells to take as they are."""


def closure(target: Target, plan: Plan, *, from_training: bool) -> Closure:
    """Split the cells behind a result.

    Args:
        target: result to reproduce.
        plan: plan of its study.
        from_training: whether models are trained again, or their checkpoints are taken as they are.
    """
    row = target.row or {}
    about = _about(target, row)
    taken = () if from_training else (TRAINING_RUN.name, CHECKPOINT.name)
    again: dict[str, set[Cell]] = {}
    pending: list[tuple[AssetSpec, Cell]] = [(target.spec, target.cell)]
    first = list(_named_inputs(row, plan)) if isinstance(row.get("inputs"), list) else None
    while pending:
        spec, cell = pending.pop()
        if spec.name in taken or cell in again.setdefault(spec.name, set()) or not cell.agrees(about):
            continue
        again[spec.name].add(cell)
        pending += plan.input_cells(spec, cell) if first is None else first
        first = None
    given: dict[str, set[Cell]] = {}
    for spec, cell in {(target.spec, target.cell)} | plan.behind(target.spec, target.cell):
        if cell not in again.get(spec.name, ()):
            given.setdefault(spec.name, set()).add(cell)
    return Closure(_frozen(again), _frozen(given))


def _about(target: Target, row: Mapping[str, Any]) -> Cell:
    """Return the model, step and layer of the cells to make again; a row with a data version is about one cell only."""
    model = row.get("model", target.cell.model)
    of_a_cell = bool(row.get("data_version"))
    step, layer = (row.get(name) if of_a_cell else None for name in ("step", "layer"))
    return Cell(model, step, layer)


def _named_inputs(row: Mapping[str, Any], plan: Plan) -> Iterator[tuple[AssetSpec, Cell]]:
    for asset, cells in named_inputs(row["inputs"]).items():
        if spec := plan.specs.get(asset):
            yield from [(spec, one) for one in plan.cells(spec) if not cells or str(one) in cells]


def _frozen(cells: Mapping[str, Iterable[Cell]]) -> Cells:
    return {name: frozenset(of_asset) for name, of_asset in cells.items() if of_asset}
