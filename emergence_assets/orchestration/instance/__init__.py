"""The Dagster instance: its home, event log and partitions, and runs of dead processes."""
