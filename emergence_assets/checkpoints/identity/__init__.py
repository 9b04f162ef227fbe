"""Measurements of weights, trajectories, and the rules that tell wrong checkpoints."""
