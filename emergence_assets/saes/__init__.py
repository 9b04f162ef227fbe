"""Train, measure, store, export and import SAEs. Modules here import fast, because Dagster loads them."""
