"""Plan of a study: its cells, their inputs and their states. Imports neither dagster nor torch."""
