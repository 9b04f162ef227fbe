"""Measurements; `make bench` runs them. Ratios of alternating runs on one machine, never timed tests."""
