"""Tables about presence over time, depth and size, a folder per subject. Files here are light: Dagster loads them."""
