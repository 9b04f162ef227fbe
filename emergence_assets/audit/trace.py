"""Trace of a result back to all cells that it was made from, by the stored records.

A record names its inputs with their fingerprints. Of the input cells of one asset, the cell nearest to the subject of
the result is shown in full. The other cells are counted, and their records are read where there are at most
MAX_COMPARED of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emergence_assets.audit.address import Target
from emergence_assets.audit.events import Event, EventLog
from emergence_assets.audit.records import AuditPlan, Stored, input_parts, named_inputs
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell, parse_cell
from emergence_assets.plan.lineage_id import cell_id
from emergence_assets.report.figure_tables import FIGURE_TABLES

MAX_COMPARED = 100
"""Maximum number of other cells of a group whose records are read; a record takes 1 to 2 ms."""


@dataclass
class Node:
    """One cell behind the result."""

    asset: str
    cell: str
    recorded: str
    """Fingerprint of the cell in the record of the cell made from it."""
    stored: Stored
    event: Event | None
    problem: str
    """Problem of the cell; empty when none is known."""
    groups: list["Group"] = field(default_factory=list)
    """Inputs of the cell, by asset."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the stored cell; where the cell cannot be read, `recorded`."""
        return self.stored.record.fingerprint if self.stored.record else self.recorded


@dataclass
class Group:
    """All input cells of one asset of a cell."""

    asset: str
    fingerprints: Mapping[str, str]
    """Cell to fingerprint, for all cells of the group."""
    nodes: list[Node]
    """Cells that are shown in full."""
    n_read: int = 0
    """Number of other cells whose records were read."""
    differing: dict[str, str] = field(default_factory=dict)
    """Cell to problem, for the other cells with a problem."""


@dataclass(frozen=True)
class Trace:
    """A result, and the tree of cells behind it."""

    target: Target
    root: Node
    event_problem: str
    """Reason why runs and dates are unknown; empty when they are known."""


def trace(target: Target, plan: AuditPlan, events: EventLog, *, everything: bool = False) -> Trace:
    """Trace a result back to the cells without inputs.

    Args:
        target: result to trace.
        plan: plan of its study.
        events: event log of the instance.
        everything: show every cell in full; reads all records behind the result.
    """
    tracer = _Tracer(target, plan, events, everything)
    root = tracer.node(target.spec, str(target.cell), target.fingerprint, tracer.named_inputs())
    return Trace(target, root, events.problem)


class _Tracer:
    def __init__(self, target: Target, plan: AuditPlan, events: EventLog, everything: bool):
        self.target, self.plan, self.events, self.everything = target, plan, events, everything
        row = target.row or {}
        self.about = target.cell._replace(**{name: row[name] for name in Cell._fields if row.get(name) is not None})
        self.version = str(row.get("data_version") or "")
        self.nodes: dict[tuple[str, str], Node] = {}

    def named_inputs(self) -> dict[str, set[str]] | None:
        """Return the inputs that the row or figure names: asset to cells, empty for all cells; None for all assets."""
        if self.target.figure:
            return {asset: set() for asset in FIGURE_TABLES[self.target.figure]}
        named = (self.target.row or {}).get("inputs")
        return named_inputs(named) if isinstance(named, list) else None

    def node(self, spec: AssetSpec, cell: str, recorded: str, only: Mapping[str, set[str]] | None = None) -> Node:
        known = self.nodes.get((spec.name, cell))
        if known is not None:
            return known
        parsed = parse_cell(cell)
        stored = self.plan.stored(spec, parsed) if parsed else Stored(None, "it is not the name of a cell")
        node = Node(spec.name, cell, recorded, stored, None, "")
        self.nodes[spec.name, cell] = node
        if parsed:
            node.event = self.events.latest(spec.name, parsed)
            node.problem = self._problem(spec, parsed, recorded, stored, node.event)
        if stored.record:
            for asset, fingerprints in input_parts(stored.record.required.inputs).items():
                cells = (only or {}).get(asset)
                if only is None or cells is not None:
                    kept = {name: value for name, value in fingerprints.items() if not cells or name in cells}
                    node.groups.append(self._group(asset, kept))
        return node

    def _group(self, asset: str, fingerprints: Mapping[str, str]) -> Group:
        spec = self.plan.specs.get(asset)
        if spec is None:
            return Group(asset, fingerprints, [])
        shown = list(fingerprints) if self.everything else self._representatives(fingerprints)
        group = Group(asset, fingerprints, [self.node(spec, cell, fingerprints[cell]) for cell in shown])
        others = [cell for cell in fingerprints if cell not in shown]
        if len(others) <= MAX_COMPARED:
            for name in others:
                cell = parse_cell(name)
                stored = self.plan.stored(spec, cell) if cell else Stored(None, "it is not the name of a cell")
                group.n_read += 1
                if cell and (problem := self._problem(spec, cell, fingerprints[name], stored, None)):
                    group.differing[name] = problem
        return group

    def _representatives(self, fingerprints: Mapping[str, str]) -> list[str]:
        """Return the cell with the data version of the row; without one, the cell most similar to the result."""
        cells = {name: parse_cell(name) for name in fingerprints}
        exact = [name for name, value in fingerprints.items() if self.version and value == self.version]
        if exact:
            return exact[:1]
        best = max(cells, key=lambda name: _similarity(cells[name], self.about), default=None)
        return [best] if best is not None else []

    def _problem(self, spec: AssetSpec, cell: Cell, recorded: str, stored: Stored, event: Event | None) -> str:
        kind, reason = next(self.plan.problems(spec, cell, stored, event), ("", ""))
        record = stored.record
        if record and recorded and record.fingerprint != recorded and kind != "altered":
            current = cell_id(record.fingerprint)
            return f"replaced: the cell made from it used {cell_id(recorded)}, now {current} is stored"
        return f"{kind}: {reason}" if kind else ""


def _similarity(cell: Cell | None, about: Cell) -> tuple[int, int, int]:
    """Return the sort key of a cell by similarity to a result: equal fields, then the later step, then the layer."""
    if cell is None:
        return (-1, 0, 0)
    agree = sum(a is not None and a == b for a, b in zip(cell, about, strict=True))
    return (agree, cell.step if cell.step is not None else -1, cell.layer if cell.layer is not None else -1)


def trace_as_dict(result: Trace) -> dict[str, Any]:
    """Return the whole trace as plain values: every cell once, by name, with its inputs."""
    cells: dict[str, Any] = {}
    pending = [result.root]
    while pending:
        node = pending.pop()
        name = f"{node.asset} {node.cell}"
        if name in cells:
            continue
        cells[name] = node_as_dict(node)
        pending += [child for group in node.groups for child in group.nodes]
    target = result.target
    return {
        "asset": target.spec.name,
        "cell": str(target.cell),
        "lineage_id": target.lineage_id,
        "figure": target.figure or None,
        "row": _plain(target.row) if target.row else None,
        "event_log": result.event_problem or "read",
        "root": f"{result.root.asset} {result.root.cell}",
        "cells": cells,
    }


def node_as_dict(node: Node) -> dict[str, Any]:
    """Return one cell as plain values."""
    record, event = node.stored.record, node.event
    values: dict[str, Any] = {"lineage_id": cell_id(node.fingerprint), "fingerprint": node.fingerprint}
    values |= {"problem": node.problem or None}
    if record:
        values |= {"created": record.created, "code_version": record.required.code_version}
        values |= {"recipe": dict(record.required.recipe), "summary": dict(record.summary)}
        values |= {"environment": dict(record.environment)}
    if event:
        values |= {
            "run": event.run_id,
            "run_page": event.page,
            "recorded": event.time,
            "seal": event.content_hash or None,
        }
    values["inputs"] = {
        group.asset: {"cells": dict(group.fingerprints), "told": [child.cell for child in group.nodes]}
        | {"compared": group.n_read, "differing": group.differing}
        for group in node.groups
    }
    return values


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str | int | float | bool | list | None) else str(value)
        for name, value in row.items()
    }
