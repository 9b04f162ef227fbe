"""Results of the checks of an asset, from one validation of many of its cells."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.summaries import summaries
from resources.tables.check import Finding
from resources.tables.expectations import validate

if TYPE_CHECKING:
    from emergence_assets.plan.plan import Plan


class CheckResult(NamedTuple):
    """Result of one check, over all cells that were validated together."""

    finding: Finding
    cells: frozenset[str]
    """Names of the cells that fail; empty where the finding concerns the frame as a whole."""

    def passes(self, cell: Cell) -> bool:
        """Return whether one cell passes."""
        return self.finding.passed or (bool(self.cells) and str(cell) not in self.cells)


def check_results(spec: AssetSpec, plan: "Plan", cells: Sequence[Cell]) -> list[CheckResult]:
    """Validate the summaries or tables of cells once, against all checks of their asset."""
    frame = spec.frame(plan, cells) if spec.frame else summaries(spec, plan, cells)
    column = next((name for name in ("cell", "model") if name in frame.columns), None)
    names = [str(name) for name in frame[column]] if column and spec.grid != "study" else []
    # A table without rows proves nothing, and is invisible in a frame with the rows of other tables.
    absent = sorted({str(cell) for cell in cells} - set(names)) if names else []
    results = []
    for finding in validate(frame, spec.checks):
        broken = {names[row] for row in finding.failed_rows} if names else set()
        if absent and (finding.passed or broken):
            details = (*finding.details, f"no rows of {', '.join(absent)}")
            finding = Finding(finding.check, False, finding.failed_rows, details)
            broken.update(absent)
        results.append(CheckResult(finding, frozenset(broken)))
    return results


def blocking_failures(results: Sequence[CheckResult], cell: Cell) -> str:
    """Describe the blocking checks that a cell does not pass, with what was found; empty when it passes all."""
    failed = [one for one in results if one.finding.check.blocking and not one.passes(cell)]
    return "; ".join(": ".join((one.finding.check.name, *one.finding.details)) for one in failed)
