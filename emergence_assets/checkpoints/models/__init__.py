"""Checkpoints loaded as models."""
