"""What the same measurement gives with other weights, other texts or other dictionaries."""
