"""Which checkpoints there are, and whether they are what they claim. Files here are light: Dagster loads them."""
