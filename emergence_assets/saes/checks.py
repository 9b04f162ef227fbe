"""Claims about trained SAEs, on a frame with a row per cell."""

from resources.expectations import Check, Condition, between

SAE_CHECKS = (
    Check(
        "sae_beats_mean_baseline",
        "The fraction of variance unexplained on held-out rows is above 0 and below 1.",
        (between("fvu", 0, 1, strict=True),),
    ),
    Check(
        "l0_is_at_most_its_limit",
        "No token has more active latents than the design allows: k of TopK, all of the other variants.",
        (Condition("ordered", ("l0", "l0_limit")),),
    ),
    Check(
        "sparsity_is_near_its_aim",
        "The mean number of active latents per held-out token is at most 1.5 times k.",
        (Condition("ordered", ("l0", "l0_wanted")),),
        blocking=False,
    ),
    Check(
        "most_latents_are_alive",
        "At most half of the latents are dead over the training window.",
        (between("dead_frac", 0, 0.5),),
        blocking=False,
    ),
)
