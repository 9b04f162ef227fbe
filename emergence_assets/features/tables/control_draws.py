"""Controls that are drawn at random: how often, and the columns of a draw."""

import polars as pl

from emergence_assets.features.tables.columns import CONTROL_ROWS
from emergence_assets.table import Column

ENCODER_DRAWS = 4
"""Random encoders of `dict_frozen_encoder` in each layer. They cost no training, and what a trained dictionary has
above one of them is hardly more than a draw moves (`docs/method.md`)."""
DRAW = Column("draw", pl.Int16, "which of several random draws of the control, from 0", "index", 0)
CONTROL_DRAWS = (DRAW, *CONTROL_ROWS)
"""Presence of one category under one draw of a control of the last step."""
