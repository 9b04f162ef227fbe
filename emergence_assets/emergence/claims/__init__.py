"""Statements, the controls that each must pass, their grades, and replication with other seeds."""
