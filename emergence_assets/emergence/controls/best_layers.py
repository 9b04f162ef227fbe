"""Layers in which controls are measured: those that claims are about."""

import polars as pl

from emergence_assets.emergence.presence.replicates import best_layers


def layers_of_claims(category_presence: pl.DataFrame) -> dict[str, int]:
    """Return the best layer of every level at the last step of a model: other layers have no claim to test."""
    last = category_presence.filter(pl.col("step") == pl.col("step").max())
    return dict(best_layers(last).select("category_level", "layer").iter_rows())
