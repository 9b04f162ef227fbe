"""Categorical latents: their list and their counts."""
