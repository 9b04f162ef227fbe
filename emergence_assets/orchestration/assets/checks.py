"""Checks of cells: one validation over all that were made together, and what it says of each of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import dagster as dg

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.summaries import summaries
from resources.errors import EmergenceError
from resources.tables.check import Check, Finding
from resources.tables.expectations import validate

AS_WRITTEN = "files_are_as_written"
"""Check of every asset: true when its cells are made, asked again by the nightly audit."""


class CheckResult(NamedTuple):
    """What a check found in the frame of all cells."""

    finding: Finding
    cells: frozenset[str]
    """Cells that it is about; empty when it is about the frame as a whole."""

    def passes(self, cell: Cell) -> bool:
        """Whether it has nothing against this cell."""
        return self.finding.passed or (bool(self.cells) and str(cell) not in self.cells)

    def of_cell(self, cell: Cell, key: dg.AssetKey, page: Path) -> dg.AssetCheckResult:
        """The result of the check for one cell, which is an asset of its own; `page` of the data docs shows more."""
        passed = self.passes(cell)
        return _result(self.finding.check, key, passed, () if passed else self.finding.details, page)

    def of_all(self, key: dg.AssetKey, cells: Sequence[Cell], page: Path) -> dg.AssetCheckResult:
        """The result of the check for all cells, which are partitions of one asset, with how many of them fail."""
        failed = sum(not self.passes(cell) for cell in cells)
        counts = {"cells": len(cells), "cells that fail": failed}
        return _result(self.finding.check, key, self.finding.passed, self.finding.details, page, counts)


def check_results(spec: AssetSpec, plan: Plan, cells: Sequence[Cell]) -> list[CheckResult]:
    """Validate the summaries or tables of cells once, against all checks of their asset."""
    frame = spec.frame(plan, cells) if spec.frame else summaries(spec, plan, cells)
    column = next((name for name in ("cell", "model") if name in frame.columns), None)
    names = [str(name) for name in frame[column]] if column and spec.grid != "study" else []
    # A table without rows proves nothing, and does not show in a frame that holds the rows of others too.
    absent = sorted({str(cell) for cell in cells} - set(names)) if names else []
    found = []
    for finding in validate(frame, spec.checks):
        broken = {names[row] for row in finding.failed_rows} if names else set()
        if absent and (finding.passed or broken):
            details = (*finding.details, f"no rows of {', '.join(absent)}")
            finding = Finding(finding.check, False, finding.failed_rows, details)
            broken.update(absent)
        found.append(CheckResult(finding, frozenset(broken)))
    return found


def severity(check: Check) -> dg.AssetCheckSeverity:
    """An error where going on would produce nonsense, else a warning."""
    return dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN


def as_written_spec(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that turns red when a file of an asset was altered, lost or exchanged."""
    said = (
        "The bytes of every file are those that were written. Asked again by the job `audit`, every night or by hand."
    )
    return dg.AssetCheckSpec(AS_WRITTEN, asset=key, description=said)


def as_written(spec: AssetSpec, plan: Plan, kept: Sequence[Cell], key: dg.AssetKey) -> dg.AssetCheckResult:
    """Its result for a run: what the run wrote is taken for granted, what it found finished is read again."""
    altered = []
    for cell in kept:
        path = spec.path(plan.storage, cell)
        try:
            spec.verify(path)
        except EmergenceError as error:
            altered.append(f"{cell}: {error.what} ({path.name})")
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=AS_WRITTEN,
        passed=not altered,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"found": "\n".join(altered)} if altered else {},
    )


def nothing_made(spec: AssetSpec, key: dg.AssetKey, why: str) -> list[dg.AssetCheckResult]:
    """Results for a run that makes nothing: its checks did not pass, and say why; they block nobody."""
    warning = dg.AssetCheckSeverity.WARN
    return [
        dg.AssetCheckResult(asset_key=key, check_name=name, passed=False, severity=warning, metadata={"found": why})
        for name in (*(check.name for check in spec.checks), AS_WRITTEN)
    ]


def _result(
    check: Check,
    key: dg.AssetKey,
    passed: bool,
    details: Sequence[str],
    page: Path,
    counts: Mapping[str, int] = MappingProxyType({}),
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=check.name,
        passed=passed,
        severity=severity(check),
        metadata={**counts, "data_docs": dg.MetadataValue.path(page)}
        | ({"found": "\n".join(details)} if details else {}),
    )
