"""Worker of `category_controls`: join the controls of a model into one table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.emergence.controls.comparison import category_controls
from emergence_assets.emergence.controls.table import CONTROL_PARTS
from emergence_assets.plan.table_worker import Made
from resources.errors import EmergenceError
from resources.tables.parquet import read_table


def join_controls(parts: list[str], category_presence: pl.DataFrame, settings: Mapping[str, Any]) -> Made:
    """Make the rows of `category_controls` of one model.

    Args:
        parts: files of the computed controls.
        category_presence: `category_presence` of the model; the measurement that controls are compared with.
        settings: section statistics of the study, with its controls.

    Raises:
        EmergenceError: a control has no rows.
    """
    chosen, nothing = settings["statistics"]["controls"], CONTROL_PARTS.schema.to_frame()
    made = pl.concat([nothing, *(read_table(Path(part), CONTROL_PARTS) for part in parts)])
    frame = category_controls(made, category_presence, chosen)
    # A model without step 0 has no control step0; claims list it as missing.
    possible = set(chosen) if (category_presence["step"] == 0).any() else set(chosen) - {"step0"}
    if missing := possible - set(frame["control_id"]):
        raise EmergenceError(f"Controls {sorted(missing)} have no rows.", where=parts, remedy="run again")
    means = frame.filter(pl.col("aggregate") == "mean", pl.col("category_level") == frame["category_level"][0])
    above = means.group_by("control_id", maintain_order=True).agg(pl.col("above_control").mean())
    return Made(frame, {f"above_{name}": value for name, value in sorted(above.iter_rows())})
