"""Controls: the same measurement with other weights, other texts or other dictionaries."""
