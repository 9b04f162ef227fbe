"""The category of a latent is the one it tells best, among those that the policy accepts."""

import polars as pl

from emergence_assets.features.latent_categories import latent_categories


def test_the_best_accepted_category_of_the_level_is_taken() -> None:
    stats = pl.DataFrame(
        {
            "sae_seed": [0, 0, 0, 0, 1, 0],
            "latent": [3, 3, 3, 4, 3, 5],
            "category_level": ["subject", "subject", "subject", "subject", "subject", "domain"],
            "category": ["bird", "fish", "tree", "fish", "tree", "life"],
            "auroc_score": [0.7, 0.8, 0.9, 0.6, 0.6, 0.9],
            "passes": [True, True, False, False, True, True],
        }
    )
    found = latent_categories(stats, "subject")
    assert found.rows() == [(0, 3, "fish", 2), (1, 3, "tree", 1)]
    assert latent_categories(stats.sample(fraction=1, shuffle=True, seed=1), "subject").equals(found)
