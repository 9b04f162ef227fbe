"""Measurements of weights, trajectories of checkpoints, and the identity rules."""
