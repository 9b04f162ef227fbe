"""Conversion and loading of checkpoints as models, and their loss on a fixed text."""
