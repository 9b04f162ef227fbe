"""Worker that joins the controls of a model into one table."""

from pathlib import Path
from typing import Any

from emergence_assets.emergence.table_spec import write_cell
from resources.errors import EmergenceError
from resources.tables.parquet import read_table


def join_controls(parts: list[str], presence: str, chosen: list[str], path: str, required: str, report: Any) -> None:
    """Worker: all controls of one model as a table."""
    import polars as pl

    from emergence_assets.emergence.controls.comparison import category_controls
    from emergence_assets.emergence.controls.table import CATEGORY_CONTROLS as TABLE
    from emergence_assets.emergence.controls.table import CONTROL_PARTS
    from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE as PRESENCE

    nothing = CONTROL_PARTS.schema.to_frame()
    made = pl.concat([nothing, *(read_table(Path(part), CONTROL_PARTS) for part in parts)])
    measured = read_table(Path(presence), PRESENCE)
    frame = category_controls(made, measured, chosen)
    # A model whose step 0 is left out cannot be compared with it; the claims say that it was not measured.
    possible = set(chosen) if (measured["step"] == 0).any() else set(chosen) - {"step0"}
    missing = possible - set(frame["control_id"])
    if missing:
        raise EmergenceError(f"Controls {sorted(missing)} have no rows.", where=path, remedy="run again")
    means = frame.filter(pl.col("aggregate") == "mean", pl.col("category_level") == frame["category_level"][0])
    above = means.group_by("control_id").agg(pl.col("above_control").mean())
    numbers = {f"above_{name}": value for name, value in sorted(above.iter_rows())}
    write_cell(Path(path), frame, TABLE, required, {"rows": len(frame), **numbers})
