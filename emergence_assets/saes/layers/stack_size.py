"""Layers whose SAEs are trained together, as many as the memory of the device holds."""

from emergence_assets.plan.disk_forecast import format_bytes
from resources.errors import EmergenceError

COPIES_OF_WEIGHTS, BATCH_BYTES = 4, 57
"""Parameters, the two moments of Adam and a gradient; bytes of a batch on the device for each token and dimension.
Solved from two stacks that differ in their latents alone (docs/measurements.md, "On a GPU": 1.5 and 3.9 GB)."""
USED_SHARE = 0.9
"""Part of the free memory that a stack may take; the allocator keeps the rest in pieces."""


def layers_at_once(n_saes: int, n_latents: int, d_model: int, batch_size: int, free_bytes: int | None) -> int | None:
    """Return how many layers are trained as one stack; None if memory sets no limit.

    What is trained beside a layer changes its SAEs by rounding alone, as another GPU does.

    Args:
        n_saes: SAEs of one layer that are trained at once, one per seed.
        n_latents: latents of an SAE.
        d_model: width of the residual stream.
        batch_size: tokens of a batch of one SAE.
        free_bytes: free memory of the GPU; None on a CPU.

    Raises:
        EmergenceError: the SAEs of one layer do not fit.
    """
    if free_bytes is None:
        return None
    weight_bytes = 4 * (2 * n_latents * d_model + n_latents + d_model)
    n_bytes = n_saes * (COPIES_OF_WEIGHTS * weight_bytes + BATCH_BYTES * batch_size * d_model)
    n_layers = int(USED_SHARE * free_bytes / n_bytes)
    if n_layers == 0:
        raise EmergenceError(
            f"The {n_saes} SAEs of one layer take {format_bytes(n_bytes)} of a GPU, and {format_bytes(free_bytes)} are "
            "free.",
            remedy="lower sae.n_latents, list fewer sae.seeds, or take a GPU with more memory",
        )
    return n_layers
