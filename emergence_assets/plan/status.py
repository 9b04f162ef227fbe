"""Status of a study: number of cells per asset that are done, stale, missing or failed."""

from dataclasses import dataclass

from emergence_assets.plan.plan import Plan
from resources.errors import EmergenceError


@dataclass(frozen=True)
class AssetStatus:
    """Number of cells of one asset, by state."""

    asset: str
    stage: str
    done: int
    stale: int
    missing: int
    failed: int
    """Cells that are not done after a failed attempt, and cells damaged on disk."""
    reasons: tuple[str, ...]
    """Reasons why cells are not done, without repeats."""

    @property
    def total(self) -> int:
        """Number of all cells of the asset."""
        return self.done + self.stale + self.missing + self.failed


def study_status(plan: Plan, failed_cells: frozenset[tuple[str, str]]) -> list[AssetStatus]:
    """Count the cells of every asset by state, in flow order.

    Args:
        plan: plan of the study.
        failed_cells: (asset, cell) pairs whose last attempt failed, according to the event log.
    """
    statuses = []
    for spec in plan.specs.values():
        counts = {"done": 0, "stale": 0, "missing": 0, "failed": 0}
        reasons: dict[str, None] = {}
        for cell in plan.cells(spec):
            try:
                state, reason = plan.state(spec, cell)
            except EmergenceError as error:
                state, reason = "failed", f"{error.what} ({error.where})"
            if state != "done" and (spec.name, str(cell)) in failed_cells:
                state = "failed"
            counts[state] += 1
            if reason:
                reasons[reason] = None
        statuses.append(AssetStatus(spec.name, spec.stage, **counts, reasons=tuple(reasons)))
    return statuses
