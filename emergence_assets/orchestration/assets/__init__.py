"""Dagster assets made from specs: their bodies, checks, events and automation conditions."""
