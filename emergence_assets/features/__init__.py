"""Latent by category statistics of one cell. Files here are light: Dagster loads them."""
