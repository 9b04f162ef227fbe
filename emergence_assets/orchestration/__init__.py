"""Dagster and nothing else: assets made from specs, runs, sensors, schedules and the instance."""
