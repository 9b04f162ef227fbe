"""Measurements, run by `make bench`: ratios of alternating runs on one machine, never timed tests."""
