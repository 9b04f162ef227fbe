"""Compares the cost of every checkpoint with its utility."""

import polars as pl

from emergence_assets.emergence.cost.cost_utility import cost_utility
from emergence_assets.emergence.table_worker import Made


def weigh_costs(category_presence: pl.DataFrame, checkpoint_registry: pl.DataFrame) -> Made:
    """Rows of `cost_utility` of all models."""
    frame = cost_utility(category_presence, checkpoint_registry)
    return Made(frame, {"stop_signals": int(frame["stop_signal"].sum())})
