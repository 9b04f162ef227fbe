"""Presence of categories: how well the best latent of every category identifies it."""
