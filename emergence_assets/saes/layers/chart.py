"""Chart of the training curves and latent densities of one cell, for the page of its partition."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import altair as alt
import polars as pl
import vl_convert

from emergence_assets.saes.quality.quality import DENSITY_EDGES


def draw_training(
    curves: Mapping[int, Sequence[Sequence[float]]], densities: Mapping[int, Sequence[int]], path: Path
) -> None:
    """Draw loss against step and the histogram of latent densities, each with one line per seed.

    Args:
        curves: seed to points (step, mean FVU of the training batches since the previous point); none if imported.
        densities: seed to the counts of latents per bin of `quality.DENSITY_EDGES`.
        path: PNG file to write.
    """
    points = pl.DataFrame(
        [(str(seed), step, loss) for seed, curve in curves.items() for step, loss in curve],
        schema={"seed": pl.String, "step": pl.Float64, "loss": pl.Float64},
        orient="row",
    )
    middles = [(low + high) / 2 for low, high in pairwise(DENSITY_EDGES)]
    shares = pl.DataFrame(
        [
            (str(seed), middle, count)
            for seed, counts in densities.items()
            for middle, count in zip(middles, counts, strict=True)
        ],
        schema={"seed": pl.String, "density": pl.Float64, "latents": pl.Int64},
        orient="row",
    )
    training = (
        alt.Chart(alt.Data(values=points.to_dicts()), width=250, height=150, title="SAE training")
        .mark_line()
        .encode(
            alt.X("step:Q", title="SAE training step"),
            alt.Y("loss:Q", title="FVU of the training batch", scale=alt.Scale(type="log"), axis=alt.Axis(tickCount=4)),
            alt.Color("seed:N", title="seed"),
        )
    )
    density = (
        alt.Chart(alt.Data(values=shares.to_dicts()), width=150, height=150, title="Latent density")
        .mark_line(interpolate="step")
        .encode(
            alt.X("density:Q", title="log10 of share of tokens", axis=alt.Axis(values=[-6, -4, -2, 0])),
            alt.Y("latents:Q", title="latents"),
            alt.Color("seed:N", title="seed"),
        )
    )
    # Stored with every cell: small, and on white, which compresses better than a transparent background. Altair's check
    # of the specification takes longer than the drawing.
    spec = (training | density).configure(background="white").to_dict(validate=False)
    path.write_bytes(vl_convert.vegalite_to_png(spec, ppi=72))
