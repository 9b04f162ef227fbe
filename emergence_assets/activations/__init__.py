"""Residual-stream rows of every checkpoint and layer. Modules here import fast, because Dagster loads them."""
