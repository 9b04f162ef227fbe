"""Presence of a category in several latents together: k-sparse probes."""
