"""Progress of a run in the log of a Dagster run."""

import dagster as dg

from emergence_assets.plan.asset_spec import AssetSpec


class LogListener:
    """Writes what a run does into the log of a Dagster run."""

    def __init__(self, log: dg.DagsterLogManager):
        self._log = log

    def planned(self, due: dict[str, int], total: dict[str, int]) -> None:
        """Say what will be computed."""
        self._log.info("to do: " + ", ".join(f"{name} {n} of {total[name]}" for name, n in due.items()))

    def began(self, spec: AssetSpec, model: str | None, n_cells: int) -> None:
        """Say what begins."""
        self._log.info(f"{spec.name} {model or 'all models'}: {n_cells} cells")

    def ended(self, spec: AssetSpec, model: str | None, n_cells: int) -> None:
        """Say what is finished."""
        self._log.info(f"{spec.name} {model or 'all models'}: finished")
