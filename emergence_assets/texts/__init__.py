"""Probe sets, the corpus and tokens."""
