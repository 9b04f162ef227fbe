"""SAE variants, one module each: the selection of active latents, and what training adds for it."""
