"""Atomic writes, paths, provenance records and locks."""
