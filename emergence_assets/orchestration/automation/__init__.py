"""Sensors, schedules and jobs, which start runs without a command."""
