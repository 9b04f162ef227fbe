"""Worker that compares the cost of every checkpoint with its utility."""

from pathlib import Path
from typing import Any

from emergence_assets.emergence.cost.spec import COST_UTILITY
from emergence_assets.emergence.presence.spec import CATEGORY_PRESENCE
from emergence_assets.emergence.table_spec import write_cell
from resources.tables.parquet import read_tables


def weigh_costs(presence: list[str], registry: list[str], path: str, required: str, report: Any) -> None:
    """Worker: what every checkpoint cost and what it is worth."""
    from emergence_assets.checkpoints.table import REGISTRY
    from emergence_assets.emergence.catalogue import CATALOGUE
    from emergence_assets.emergence.cost.cost_utility import cost_utility

    frame = cost_utility(
        read_tables([Path(part) for part in presence], CATALOGUE[CATEGORY_PRESENCE.name]),
        read_tables([Path(part) for part in registry], REGISTRY),
    )
    numbers = {"rows": len(frame), "stop_signals": int(frame["stop_signal"].sum())}
    write_cell(Path(path), frame, CATALOGUE[COST_UTILITY.name], required, numbers)
