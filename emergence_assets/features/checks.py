"""Checks of latent statistics, on a frame with a row per cell."""

from emergence_assets.features.chance import BLOCKING_RANGE
from resources.tables.check import Check, between

STATISTICS_CHECKS = (
    Check(
        "shuffled_labels_are_at_chance",
        "For permuted labels the best latent has a mean AUROC near 0.5; otherwise selection leaks into scoring. "
        f"Permitted: {BLOCKING_RANGE[0]} to {BLOCKING_RANGE[1]}.",
        (between("mean_shuffled_auroc", *BLOCKING_RANGE),),
    ),
    Check(
        "auroc_is_a_probability",
        "Mean AUROC of the best latent and of the dense probe lie between 0 and 1.",
        (between("mean_best_auroc", 0, 1), between("mean_dense_auroc", 0, 1)),
    ),
    Check(
        "no_latent_is_categorical_by_chance",
        "Under permuted labels the rule accepts at most 1 % of the live latents; otherwise counts are no evidence.",
        (between("share_categorical_by_chance", 0, 0.01),),
        blocking=False,
    ),
    Check("categories_are_measured", "At least two categories have enough texts.", (between("categories", 2),)),
)
