"""Check results of cells as Dagster results."""

from collections.abc import Mapping, Sequence

import dagster as dg

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.check_results import CheckResult
from emergence_assets.plan.plan import Plan
from resources.errors import EmergenceError
from resources.tables.check import Check

AS_WRITTEN = "files_are_as_written"
"""Check of every asset: passes when its cells are made; the nightly audit repeats it."""


def dagster_result(
    result: CheckResult, key: dg.AssetKey, cell: Cell | None = None, counts: Mapping[str, int] | None = None
) -> dg.AssetCheckResult:
    """Return the Dagster result of a check, of one cell without a partition or of all partitions of an asset."""
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
    """Return ERROR for a blocking check, after which results would be meaningless, else WARN."""
    return dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN


def check_specs(spec: AssetSpec, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Specify the checks of an asset, and the check that fails when a file of it was altered, lost or exchanged."""
    as_written = "Every file has the bytes that were written. The job `audit` repeats this check."
    return [
        *(dg.AssetCheckSpec(c.name, asset=key, description=c.description, blocking=c.blocking) for c in spec.checks),
        dg.AssetCheckSpec(AS_WRITTEN, asset=key, description=as_written),
    ]


def as_written(spec: AssetSpec, plan: Plan, kept: Sequence[Cell], key: dg.AssetKey) -> dg.AssetCheckResult:
    """Return the result of `AS_WRITTEN` for a run: files that the run wrote are trusted, kept cells are read again."""
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
    """Return the check results of a run that makes nothing: all fail with the reason, as warnings that do not block."""
    warning = dg.AssetCheckSeverity.WARN
    return [
        dg.AssetCheckResult(asset_key=key, check_name=name, passed=False, severity=warning, metadata={"found": why})
        for name in (*(check.name for check in spec.checks), AS_WRITTEN)
    ]
