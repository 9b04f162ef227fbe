"""The training curve of one cell as a picture, for the page of its partition."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import altair as alt
import polars as pl


def draw_training_curves(curves: Mapping[int, Sequence[Sequence[float]]], path: Path) -> None:
    """Draw loss against step, one line per seed.

    Args:
        curves: seed to points (step, FVU of the training batches since the point before).
        path: PNG to write.
    """
    points = pl.DataFrame(
        [(str(seed), step, loss) for seed, curve in curves.items() for step, loss in curve],
        schema={"seed": pl.String, "step": pl.Float64, "loss": pl.Float64},
        orient="row",
    )
    chart = (
        alt.Chart(alt.Data(values=points.to_dicts()), width=320, height=180, title="SAE training")
        .mark_line()
        .encode(
            alt.X("step:Q", title="SAE training step"),
            alt.Y("loss:Q", title="FVU of the training batch", scale=alt.Scale(type="log")),
            alt.Color("seed:N", title="seed"),
        )
    )
    chart.save(str(path), ppi=72)
