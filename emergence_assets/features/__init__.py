"""Latent × category statistics of one cell. Files here import no heavy library, because Dagster loads them."""
