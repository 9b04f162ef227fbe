"""Sensors, schedules and jobs: what starts without a command."""
