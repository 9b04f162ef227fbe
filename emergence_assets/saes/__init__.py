"""Train, measure, store, export and import SAEs. Files here are light: Dagster loads them."""
