"""Columns of a control that is drawn at random, once or several times."""

import polars as pl

from emergence_assets.features.tables.columns import CONTROL_ROWS
from emergence_assets.table import Column

DRAW = Column("draw", pl.Int16, "which of several random draws of the control, from 0", "index", 0)
CONTROL_DRAWS = (DRAW, *CONTROL_ROWS)
"""Presence of one category under one draw of a control of the last step."""
