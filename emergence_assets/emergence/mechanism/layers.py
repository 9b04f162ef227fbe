"""Layers of the mechanism of a return: the best early and late layer of a category, and the trough between them.

Thirds of the depth are those of `emergence/space/thirds.py`. All layers are chosen on split select. Whether a category
returns is decided in `emergence/space/reactivation.py`.
"""

import polars as pl

from emergence_assets.emergence.space.thirds import part_of_layers

THIRDS = ("early", "trough", "late")


def mechanism_layers(cells: pl.DataFrame, n_layers: int, n_categories: int) -> pl.DataFrame:
    """Choose the layers of each category.

    Early and late layer are the layers of the first and last third with the highest p_select (mean over SAE seeds). The
    trough layer is the layer of the middle third with the lowest p_select. The lower layer wins a tie.

    Args:
        cells: rows of `presence_cells` of one checkpoint and level, without controls: columns category, layer,
            p_select; one row per SAE seed.
        n_layers: number of blocks of the model.
        n_categories: largest number of categories; those with the largest drop are kept.

    Returns:
        One row per category: category, early_layer, trough_layer, late_layer, drop_select. drop_select is
        min(early, late) - trough of p_select. No rows if a third has no layer.
    """
    means = (
        cells.filter(pl.col("layer") >= 0)
        .group_by("category", "layer", maintain_order=True)
        .agg(pl.col("p_select").cast(pl.Float64).mean())
    )
    means = means.with_columns(third=pl.Series(part_of_layers(means["layer"].to_numpy(), n_layers), dtype=pl.Int64))
    chosen = None
    for third, name in enumerate(THIRDS):
        best = (
            means.filter(pl.col("third") == third)
            .sort(["p_select", "layer"], descending=[name != "trough", False])
            .unique("category", keep="first", maintain_order=True)
            .select("category", pl.col("layer").alias(f"{name}_layer"), pl.col("p_select").alias(name))
        )
        chosen = best if chosen is None else chosen.join(best, on="category")
    assert chosen is not None
    return (
        chosen.with_columns(drop_select=pl.min_horizontal("early", "late") - pl.col("trough"))
        .drop(THIRDS)
        .sort(["drop_select", "category"], descending=[True, False])
        .head(n_categories)
    )
