"""The category that a latent stands for, where it stands for one."""

import polars as pl


def latent_categories(latent_stats: pl.DataFrame, level: str) -> pl.DataFrame:
    """Per SAE seed and latent the category with the highest AUROC on split score, among those the policy accepts.

    Args:
        latent_stats: see `LATENT_STATS`; of one cell.
        level: label level.

    Returns:
        Columns sae_seed, latent, category, n_categories_passing; latents without an accepted category have no row.
    """
    accepted = latent_stats.filter(pl.col("passes") & (pl.col("category_level") == level))
    return (
        # the name breaks ties, so that the choice does not hang on the order of rows
        accepted.sort("auroc_score", "category", descending=[True, False])
        .group_by("sae_seed", "latent", maintain_order=True)
        .agg(pl.col("category").first(), n_categories_passing=pl.len().cast(pl.Int16))
        .sort("sae_seed", "latent")
    )
