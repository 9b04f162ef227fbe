"""Which latents are categorical, and how many."""
