"""Latents to look at, as HTML of the report and of the explorer."""
