"""Presence over model sizes, and its spread over training runs."""
