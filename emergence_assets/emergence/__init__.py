"""Tables about presence over time, depth and size, one folder per subject. Files here are light: Dagster loads them."""
