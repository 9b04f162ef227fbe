"""Checkpoints: sources, training, identity rules, and their assets. Modules here import fast: Dagster loads them."""
