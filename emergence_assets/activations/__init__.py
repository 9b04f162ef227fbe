"""Residual-stream rows of every checkpoint and layer. Files here are light: Dagster loads them."""
