"""Declarations of the tables of this stage, by subject."""
