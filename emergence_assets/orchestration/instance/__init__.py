"""The Dagster instance: its home, its partitions, runs of dead processes."""
