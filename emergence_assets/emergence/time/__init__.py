"""Presence over training steps: curves, onsets, half-rise steps."""
