"""Claims about trained SAEs, on a frame with a row per cell."""

from resources.expectations import Check, Condition, between

SAE_CHECKS = (
    Check(
        "sae_beats_mean_baseline",
        "The fraction of variance unexplained on held-out rows is above 0 and below 1.",
        (between("fvu", 0, 1, strict=True),),
    ),
    Check(
        "l0_is_at_most_k",
        "No token has more active latents than the design allows.",
        (Condition("ordered", ("l0", "k")),),
    ),
    Check(
        "most_latents_are_alive",
        "At most half of the latents are dead over the training window.",
        (between("dead_frac", 0, 0.5),),
        blocking=False,
    ),
)
