"""Dagster results of the checks of cells."""

from collections.abc import Mapping, Sequence

import dagster as dg

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.check_results import CheckResult
from emergence_assets.plan.plan import Plan
from resources.errors import EmergenceError
from resources.tables.check import Check

AS_WRITTEN = "files_are_as_written"
"""Check of every asset: true when its cells are made, asked again by the nightly audit."""


def dagster_result(
    result: CheckResult, key: dg.AssetKey, cell: Cell | None = None, counts: Mapping[str, int] | None = None
) -> dg.AssetCheckResult:
    """Result of a check in Dagster: of one cell that is an asset of its own, or of all partitions of an asset."""
    finding = result.finding
    passed = finding.passed if cell is None else result.passes(cell)
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=finding.check.name,
        passed=passed,
        severity=severity(finding.check),
        metadata={**(counts or {}), **({} if passed else {"found": "\n".join(finding.details)})},
    )


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
