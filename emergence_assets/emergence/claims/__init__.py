"""Statements, the controls they have to pass, their grades, and whether they hold with other seeds."""
