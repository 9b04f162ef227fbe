"""Checks of trained SAEs, on a frame with a row per cell."""

from resources.tables.check import Check, Condition, between

SAE_CHECKS = (
    Check(
        "sae_beats_mean_baseline",
        "The fraction of variance unexplained on held-out rows is above 0 and below 1.",
        (between("fvu", 0, 1, strict=True),),
    ),
    Check(
        "l0_is_at_most_its_limit",
        "No token has more active latents than the variant allows: k for TopK, all latents for the others.",
        (Condition("ordered", ("l0", "l0_limit")),),
    ),
    Check(
        "sparsity_is_near_its_aim",
        "The mean number of active latents per held-out token is 0.9 k to 1.5 k for TopK, else 0.5 k to 1.5 k.",
        (Condition("ordered", ("l0_least", "l0")), Condition("ordered", ("l0", "l0_wanted"))),
        blocking=False,
    ),
    Check(
        "rows_leave_room_for_sparsity",
        "Twice k is at most the number of directions that hold 99 % of the rows' variance; with a larger k nearly any "
        "dictionary reconstructs them (arXiv 2505.20254). Lower sae.k.",
        (Condition("ordered", ("twice_k", "dims_99")),),
        blocking=False,
    ),
    Check(
        "decoder_directions_have_unit_length",
        "The length of every decoder row is 1 within 0.001: latent activations of two SAEs have the same unit.",
        (between("decoder_norm_off", 0, 1e-3),),
        blocking=False,
    ),
    Check(
        "seeds_differ",
        "No two seeds have the same SAE, which would make their agreement meaningless.",
        (between("equal_seeds", 0, 0),),
    ),
    Check(
        "most_latents_are_alive",
        "At most half of the latents are dead over the training window.",
        (between("dead_frac", 0, 0.5),),
        blocking=False,
    ),
)
